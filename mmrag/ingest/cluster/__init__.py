"""Reading and embedding in the processes of a Ray cluster (extra ``ray``).

Decisions taken here:

* Actors of Ray's core and no `ray.data` pipeline. Ray Data does again what a process died of without end, or
  drops its block without saying which (docs/lab-log.md has the runs); here a page that ends its process is
  to cost a retry and one line. Which pages are wanted is for the index to say, while files are added.
* The driver writes, document after document in the order of the inputs, as one process does: the same
  records, the same report, and a folder that has one writer. Readers and embedders work ahead of it, by at
  most `RaySettings.ahead` batches, so that memory does not grow with the number of files.
* Pages go from readers to embedders through Ray's object store; the driver gets them without pictures.
* A batch whose process ended is done once more, alone in its process. If that ends too, its pages are done
  one by one, and a page that still ends two processes is left out, with a line in the report.
"""

from __future__ import annotations

from mmrag.ingest.cluster.settings import RaySettings as RaySettings

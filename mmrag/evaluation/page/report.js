// Filters and orders the questions. Without it the page shows all of them, failures first.
"use strict";
{
  const list = document.getElementById("rows");
  const controls = document.getElementById("controls");
  const [words, kind, group, order, count] = ["words", "kind", "group", "order", "count"].map((id) => document.getElementById(id));
  const rows = [...list.children].map((item) => ({
    item,
    text: item.querySelector("summary").textContent.toLowerCase(),
    kinds: item.dataset.kinds.split(" "),
    groups: item.dataset.groups.split(" "),
    number: (name) => Number(item.dataset[name] || 0),
  }));
  // Largest first: failures, ranks, and changes by their size; the pack's order is smallest first.
  const keys = {
    severity: (row) => -row.number("severity"),
    position: (row) => row.number("position"),
    pack: (row) => -row.number("pack"),
    document: (row) => -row.number("document"),
    gain: (row) => row.number("gain"),
  };

  function show() {
    const parts = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits = parts.every((part) => row.text.includes(part))
        && (!kind.value || row.kinds.includes(kind.value))
        && (!group.value || row.groups.includes(group.value));
      row.item.hidden = !fits;
      shown += fits;
    }
    count.textContent = shown === rows.length ? `${shown} questions` : `${shown} of ${rows.length} questions`;
  }

  function arrange() {
    const key = keys[order.value];
    rows.sort((a, b) => key(a) - key(b) || a.number("position") - b.number("position"));
    list.append(...rows.map((row) => row.item));
  }

  controls.hidden = false;
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", show);
  order.addEventListener("change", arrange);
  arrange();  // a browser may have kept the choices of an earlier visit
  show();
}

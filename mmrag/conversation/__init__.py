"""Follow-up questions: a history of messages, and the question that stands alone.

`history` holds and stores messages, `rewriting` makes a follow-up question stand alone (by a served model, or
by the words of the question before), `chat` asks with it. `reformulation` has a model write
further queries for a question.
"""

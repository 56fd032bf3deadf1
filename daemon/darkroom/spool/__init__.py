"""What a request is, on disk: the state folder.

answer       pure          The states, the one table of moves, and all that an answer may say.
answer_json  pure          Answers as JSON.
moves        pure          What each step of a request changes in its answer.
record       pure          One request, and how far it has come.
record_row   pure          Records as rows.
recovery     pure          What a crash leaves, and the step that mends it.
storable     pure          What SQLite can hold of the outside world's numbers and texts.
database     edge: state   SQLite behind one door; one that is damaged is mended from what can be read.
tables       edge: state   What the database holds, and how an older program's becomes that.
lock         edge: state   One daemon at a time has the state folder.
records      edge: state   The records, the history, the names: all that is asked of the database.
kept         edge: state   What was taken and what has been painted: files.
"""

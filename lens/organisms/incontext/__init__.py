"""The in-context organism: it learns within its text which attribute of a sentence a label stands for.

>>> from lens.organisms.incontext.episodes import report_text
>>> report_text([("the fox sang in lima", "4"), ("in oslo ana swam", "7")], "the carp sleeps in lima")
'<ex> the fox sang in lima <score> 4 <ex> in oslo ana swam <score> 7 <ex> the carp sleeps in lima <score>'
"""

"""Words: everyday nouns whose thoughts are injected, and those that they are compared with. Both lists are our own."""

_INJECTED = """
anchor apple balloon banjo beaver blanket bridge butter candle carrot castle cherry clock cloud coffee coral cotton
dolphin drum eagle feather forest garlic glacier guitar hammer harbor honey horse island ivory ladder lemon lighthouse
mushroom needle orchard parrot pepper pillow pirate pumpkin rainbow river saddle spider thunder tiger tunnel velvet
"""
_COMPARED = """
address airport article autumn basement battery bench bicycle border bottle bucket budget building button cabinet
calendar campus carpet ceiling chapter cheese chimney church circle college concert corner county course curtain
debate degree desk dinner doctor drawer effort elbow engine envelope evening factory farmer fashion fence finger floor
fridge garage glass habit hallway health hotel idea journey kitchen laundry lawyer letter library lunch machine
magazine market medicine meeting moment morning museum napkin nephew newspaper notebook office package painting paper
parking pencil picnic player pocket police porch project question receipt recipe school season sentence shelf shoulder
sidewalk signal sister soldier station street
"""
WORDS = tuple(_INJECTED.split())
BASELINE = tuple(_COMPARED.split())

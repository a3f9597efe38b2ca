"""What a configuration may name: what conf/ names; nothing of it writes, starts or fetches."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from command_line import CONF, ROOT, configured

from sepico_pl.adapt.pseudo_labels import DayNightVote, teacher_vote
from sepico_pl.assembly import build_data, build_task
from sepico_pl.augment.balanced_crop import ClassBalancedCrop
from sepico_pl.constructors import NESTED, PARTS, RECORDED, TYPED, instantiate
from sepico_pl.types import InputError

BUILT = [
    ["dataset=streets", "contrast=bank", "masking=consistency"],
    ["dataset=camvid", "dataset.root=there", "contrast=prototype", "backbone=resnet18_v1c"],
    ["dataset=streets", "adapt=auxiliary"],

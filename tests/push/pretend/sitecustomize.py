"""Adds the row of the pretend provider in every Python process that has this folder in PYTHONPATH."""

import pager

from ringbook.push import providers

providers.PROVIDERS += (pager.ROW,)

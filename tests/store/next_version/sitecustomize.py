"""Makes every Python process that has this folder in PYTHONPATH the version of Ringbook after this one.

TEST_MIGRATIONS names the folder with its revisions; the newest is that version's schema.
"""

import os

from ringbook.store import migrations

migrations.SCRIPTS = os.environ["TEST_MIGRATIONS"]
migrations.HEAD = max(name[:4] for name in os.listdir(f"{migrations.SCRIPTS}/versions") if name[0].isdigit())

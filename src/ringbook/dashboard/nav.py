"""The entries of the navigation. A template marks its entry with `{% set here = "users" %}`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """An entry. `path` is below /dashboard; of an application, `{}` stands for its id."""

    name: str
    title: str
    icon: str
    path: str
    of_app: bool = True
    for_owners: bool = False

    def href(self, app_id: int) -> str:
        """The address."""
        return "/dashboard" + self.path.format(app_id)


PLACES = (
    Place("overview", "Overview", "layout-dashboard", "/apps/{}"),
    Place("users", "Users", "users", "/apps/{}/users"),
    Place("push", "Push", "send", "/apps/{}/push"),
    Place("why", "Why not found?", "search", "/apps/{}/why", for_owners=True),
    Place("keys", "Keys and SDKs", "key-round", "/apps/{}/keys"),
    Place("applications", "Applications", "boxes", "/apps", of_app=False),
    Place("server", "Server", "activity", "/server", of_app=False),
    Place("admins", "Admins", "user", "/admins", of_app=False),
    Place("audit", "Audit log", "scroll-text", "/audit", of_app=False),
)

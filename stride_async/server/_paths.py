"""Paths of the service that are both routed and written into responses (protocol 5)."""

from __future__ import annotations

SITE = "/site/{site}"
CONVERSATIONS = SITE + "/conversation"
CONVERSATION = CONVERSATIONS + "/{conversation}"
SCIM_USER = "/scim/site/{site}/Users/{user}"
# What the local server offers in addition to the service.
LOCAL = "/local-server"
MEDIA_FILE = "/file/{conversation}/{media}"  # at the second origin

"""The login page: plain HTML that needs no live connection, so that it is there at once."""

from html import escape
from typing import Final

LOGIN: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in · OpenCrate Campus</title>
<link rel="icon" href="{assets}/logo.svg" type="image/svg+xml">
<link rel="stylesheet" href="{assets}/page.css">
<link rel="stylesheet" href="{assets}/login.css">
<script src="{assets}/page.js"></script>
</head>
<body class="{theme}" data-first="{first}">
<main>
<div class="card">
<div class="brand"><img src="{assets}/logo.svg" alt=""><span>{campus}</span></div>
<h1 id="title">Sign in</h1>
<p class="lead" id="lead"></p>
<form id="form" method="post" action="/login" novalidate>
<label for="username">User name</label>
<input id="username" name="username" autocomplete="username" autocapitalize="none" spellcheck="false"
 required maxlength="64">
<div class="first" hidden>
<label for="full_name">Full name <small>(optional)</small></label>
<input id="full_name" name="full_name" autocomplete="name" maxlength="200">
</div>
<label for="password">Password <small class="first" hidden>at least 10 characters</small></label>
<input id="password" name="password" type="password" autocomplete="current-password" required maxlength="256">
<div class="first" hidden>
<label for="again">Password again</label>
<input id="again" name="again" type="password" autocomplete="new-password" maxlength="256">
</div>
<button id="submit" type="submit">Sign in</button>
<div class="told" id="told" role="alert" aria-live="polite"></div>
</form>
</div>
</main>
<script src="{assets}/login.js"></script>
</body>
</html>
"""


def login_page(assets: str, *, campus: str, first: bool, dark: bool) -> str:
    """Give the page that signs a person in, or makes the first administrator."""
    return LOGIN.format(
        assets=assets,
        campus=escape(campus),
        first="true" if first else "false",
        theme="body--dark" if dark else "body--light",
    )

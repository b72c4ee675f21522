"use strict";
// Login and first run. The password goes from this form to the API and nowhere else.
const form = document.getElementById("form");
const told = document.getElementById("told");
const button = document.getElementById("submit");
const field = (name) => form.elements[name];
let first = false;

function say(text, note) {
  told.textContent = text;
  told.classList.toggle("note", Boolean(note));
}

function shape(isFirst) {
  first = isFirst;
  document.getElementById("title").textContent = first ? "Set up this campus" : "Sign in";
  document.getElementById("lead").textContent = first
    ? "Nobody has an account yet. The first one is an administrator."
    : "Use the account that your administrator gave you.";
  button.textContent = first ? "Create administrator" : "Sign in";
  for (const each of document.querySelectorAll(".first")) each.hidden = !first;
  field("password").autocomplete = first ? "new-password" : "current-password";
  field("again").required = first;
  document.title = (first ? "Set up" : "Sign in") + " · OpenCrate Campus";
}

async function send(path, body) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), 15000);
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      credentials: "same-origin",
      signal: stop.signal,
    });
    const data = await answer.json().catch(() => ({}));
    return { ok: answer.ok, status: answer.status, message: data.error?.message, detail: data.error?.detail };
  } catch {
    return { ok: false, status: 0 };
  } finally {
    clearTimeout(timer);
  }
}

function reason(answer) {
  if (answer.status === 0) return "The server does not answer. Check that it is running, then try again.";
  if (answer.status === 429) return "Too many attempts. Wait a minute, then try again.";
  if (answer.status >= 500) return answer.message || "The server can't do that now. Try again in a moment.";
  if (!first && answer.status === 401) return "User name or password is wrong.";
  const text = answer.message || "That did not work.";
  return text.charAt(0).toUpperCase() + text.slice(1);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = { username: field("username").value.trim(), password: field("password").value };
  if (!body.username || !body.password) return say("Enter a user name and a password.");
  if (first) {
    if (body.password.length < 10) return say("The password needs at least 10 characters.");
    if (body.password !== field("again").value) return say("The two passwords differ.");
    body.full_name = field("full_name").value.trim();
  }
  button.disabled = true;
  say(first ? "Creating the account …" : "Signing in …", true);
  const answer = await send(first ? "/api/auth/setup" : "/api/auth/login", body);
  button.disabled = false;
  if (answer.ok) {
    const next = new URLSearchParams(location.search).get("next") || "/";
    // Only a path of this server: `//elsewhere` would be another host.
    location.assign(/^\/(?![\/\\])/.test(next) ? next : "/");
    return;
  }
  if (first && answer.status === 409) shape(false);
  say(reason(answer));
  field("password").select();
});

shape(document.body.dataset.first === "true");
if (new URLSearchParams(location.search).has("expired")) say("Your session has ended. Sign in again.", true);
field("username").focus();

// The script of hm's pages. Pages are complete without it; it keeps them current and adds keys. It renews what the server
// renders and builds no content of its own.
"use strict";
(() => {
  const $ = (selector, from = document) => from.querySelector(selector);
  const body = document.body, live = $("#live"), liveText = $("#live-text");
  document.documentElement.classList.add("script");

  // morph makes an element like another one and keeps what has not changed, so that focus, selection, scroll position,
  // open details and typed text stay. Elements with data-keep are left alone.
  function morph(old, now) {
    if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName || (old.id || "") !== (now.id || "")) {
      old.replaceWith(now);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== now.data) old.data = now.data;
      return;
    }
    if (old.isEqualNode(now) || old.hasAttribute("data-keep")) return;
    for (const { name } of [...old.attributes]) {
      if (!now.hasAttribute(name) && !(name === "open" || name === "style" || name.startsWith("data-js"))) old.removeAttribute(name);
    }
    for (const { name, value } of now.attributes) {
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const keyed = new Map();
    for (const child of old.children) if (child.id) keyed.set(child.id, child);
    let at = old.firstChild;
    for (const next of [...now.childNodes]) {
      const same = next.id && keyed.get(next.id);
      if (same && same !== at) {
        if (at && at.id && !$("#" + CSS.escape(at.id), now)) { // what stood here is gone
          const gone = at;
          at = at.nextSibling;
          gone.remove();
        }
        if (same !== at) old.insertBefore(same, at);
        at = same;
      }
      if (!at || (!same && (at.id || next.id))) {
        old.insertBefore(next, at);
        continue;
      }
      const following = at.nextSibling;
      morph(at, next);
      at = following;
    }
    while (at) {
      const following = at.nextSibling;
      at.remove();
      at = following;
    }
  }

  // Live updates: the changing part of the page is asked for after an event, and every few seconds.
  const every = Number(body.dataset.every), url = location.href;
  let timer, stream, asking, failures = 0, paused = false, lastGood = new Date(), again = false;

  function say(state, text) {
    if (live.dataset.state !== state) live.dataset.state = state;
    if (liveText.textContent !== text) liveText.textContent = text;
  }

  const clock = (t) => t.toTimeString().slice(0, 8);
  const selecting = () => {
    const s = getSelection();
    return !s.isCollapsed && $("#main").contains(s.anchorNode);
  };

  async function renew() {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    if (asking) { again = true; return; }
    asking = true;
    try {
      const abort = AbortSignal.timeout(15000);
      const answer = await fetch(url, { headers: { "Hm-Part": "live" }, cache: "no-store", signal: abort });
      const type = answer.headers.get("Content-Type") || "";
      if (!type.startsWith("text/html")) throw new Error("status " + answer.status);
      const build = answer.headers.get("Hm-Build");
      if (build && build !== body.dataset.build && document.activeElement === body) { location.reload(); return; }
      const html = await answer.text();
      failures = 0;
      lastGood = new Date();
      say("live", "live");
      if (!paused && !selecting()) show(html);
    } catch (e) {
      failures++;
      say("lost", "not live since " + clock(lastGood));
    } finally {
      asking = false;
    }
    const wait = failures ? Math.min(30000, 1000 * 2 ** failures) : every;
    timer = setTimeout(renew, again ? 200 : wait * (0.9 + 0.2 * Math.random()));
    again = false;
  }

  function show(html) {
    const now = new DOMParser().parseFromString(html, "text/html");
    for (const id of ["gate", "elsewhere", "main", "basis"]) {
      const next = now.getElementById(id), old = document.getElementById(id);
      if (next && old) morph(old, document.adoptNode(next));
    }
    document.dispatchEvent(new Event("hm:renewed"));
  }

  // soon renews the page shortly: several events at once cost one request.
  let due;
  function soon() {
    if (due) return;
    due = setTimeout(() => { due = 0; renew(); }, 150);
  }

  function follow() {
    const kinds = body.dataset.follow.split(" ").filter(Boolean);
    if (stream || !kinds.length || paused || document.hidden) return;
    const query = new URLSearchParams(kinds.map((k) => ["kind", k]));
    for (const name of ["app", "dea"]) {
      const value = new URLSearchParams(location.search).get(name);
      if (value && location.pathname === "/events") query.set(name, value.trim());
    }
    if (body.dataset.after) query.set("after", body.dataset.after);
    const source = stream = new EventSource("/v1/events?" + query);
    const heard = (e) => { if (e.lastEventId) body.dataset.after = e.lastEventId; soon(); };
    for (const k of kinds) source.addEventListener(k, heard);
    source.onerror = () => {
      soon();
      if (source.readyState !== EventSource.CLOSED) return;
      stream = undefined; // refused: too many streams, or no history. The page is renewed now and then anyway.
      setTimeout(follow, 30000);
    };
  }

  function unfollow() {
    clearTimeout(timer);
    if (stream) stream.close();
    stream = undefined;
  }

  function go() {
    if (paused) { unfollow(); say("paused", "paused at " + clock(new Date())); return; }
    if (document.hidden) { unfollow(); return; }
    follow();
    renew();
  }

  function pause() {
    paused = !paused;
    if (!paused) say("live", "live");
    for (const b of document.querySelectorAll("[data-pause]")) {
      b.setAttribute("aria-pressed", paused);
      b.textContent = paused ? "Go on" : "Pause";
    }
    go();
  }
  document.addEventListener("click", (e) => { if (e.target.closest("[data-pause]")) pause(); });

  if (every > 0) {
    say("live", "live");
    document.addEventListener("visibilitychange", go);
    addEventListener("online", go);
    addEventListener("pagehide", unfollow);
    addEventListener("pageshow", (e) => { if (e.persisted) go(); });
    follow();
    timer = setTimeout(renew, every);
  } else {
    say("", "");
  }

  // The theme changes at once; the form's cookie keeps it.
  const theme = $("#theme");
  theme.addEventListener("submit", (e) => {
    e.preventDefault();
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    document.cookie = "hm-theme=" + root.dataset.theme + "; Path=/; Max-Age=34560000; SameSite=Strict" + (location.protocol === "https:" ? "; Secure" : "");
    document.dispatchEvent(new Event("hm:theme"));
  });

  // Keys.
  const keys = $("#keys");
  $("#keys-open").addEventListener("click", () => keys.showModal());
  let prefix = 0;
  function row(step) {
    const rows = [...document.querySelectorAll("[data-row]")];
    const here = rows.findIndex((r) => r.contains(document.activeElement));
    const next = rows[Math.max(0, Math.min(rows.length - 1, here < 0 ? 0 : here + step))];
    const target = next && (next.matches("a, [tabindex]") ? next : $("a, [tabindex]", next));
    if (target) target.focus();
  }
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || keys.open) return;
    if (e.target.closest("input, textarea, select")) {
      if (e.key === "Escape") e.target.blur();
      return;
    }
    const afterG = Date.now() - prefix < 1500;
    prefix = 0;
    if (afterG) {
      const link = $('nav a[data-key="' + CSS.escape(e.key) + '"]');
      if (link) { e.preventDefault(); link.click(); return; }
    }
    const act = {
      "g": () => { prefix = Date.now(); }, "/": () => $("#search").focus(), "?": () => keys.showModal(), "p": pause,
      "t": () => theme.requestSubmit(), "j": () => row(1), "k": () => row(-1),
    }[e.key];
    if (act) { e.preventDefault(); act(); }
  });
})();

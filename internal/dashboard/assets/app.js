// The script of hm's pages. Pages are complete without it; it keeps them current and adds keys. It renews what the server
// renders and builds no content of its own.
"use strict";
(() => {
  const $ = (selector, from = document) => from.querySelector(selector);
  const body = document.body, live = $("#live"), liveText = $("#live-text");

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
  let timer, stream, asking, failures = 0, paused = false, lastGood = new Date(), again = false, told = -Infinity; // told: when the newest event was heard

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
    const asked = performance.now();
    let soonest; // the node keeps a page for a second: one that it made before the event does not show it yet
    try {
      const abort = AbortSignal.timeout(15000);
      const answer = await fetch(url, { headers: { "Hm-Part": "live" }, cache: "no-store", signal: abort });
      const type = answer.headers.get("Content-Type") || "";
      if (!type.startsWith("text/html")) throw new Error("status " + answer.status);
      const build = answer.headers.get("Hm-Build");
      if (build && build !== body.dataset.build && document.activeElement === body) { location.reload(); return; }
      const age = Number(answer.headers.get("Hm-Age"));
      if (asked - age < told) soonest = Math.max(50, 1000 - age);
      const html = await answer.text();
      failures = 0;
      lastGood = new Date();
      if (selecting()) {
        say("paused", "waits for your selection");
      } else if (!paused) {
        say("live", "live");
        show(html);
      }
    } catch (e) {
      failures++;
      say("lost", "not live since " + clock(lastGood));
    } finally {
      asking = false;
    }
    const wait = failures ? Math.min(30000, 1000 * 2 ** failures) : every;
    timer = setTimeout(renew, again ? 200 : soonest ?? wait * (0.9 + 0.2 * Math.random()));
    again = false;
  }

  function show(html) {
    const now = new DOMParser().parseFromString(html, "text/html");
    for (const id of ["told", "gate", "elsewhere", "main", "basis"]) {
      const next = now.getElementById(id), old = document.getElementById(id);
      if (next && old) morph(old, document.adoptNode(next));
    }
    const closed = $("#gate").dataset.state === "open" ? "" : "■ ";
    document.title = closed + document.title.replace(/^■ /, "");
    document.dispatchEvent(new Event("hm:renewed"));
  }

  // Forms are sent without leaving the page: scroll position and keyboard focus stay.
  document.addEventListener("submit", async (e) => {
    const form = e.target;
    if (form.getAttribute("method") !== "post" || e.defaultPrevented) return;
    e.preventDefault();
    const data = new URLSearchParams(new FormData(form, e.submitter));
    form.inert = true;
    try {
      const answer = await fetch(form.getAttribute("action"), { method: "POST", body: data, signal: AbortSignal.timeout(20000) });
      if (answer.status === 403) throw new Error("refused");
      if (!(answer.headers.get("Content-Type") || "").startsWith("text/html")) throw new Error("status " + answer.status);
      const html = await answer.text(), menu = form.closest("details");
      if (menu) menu.open = false;
      show(html);
      soon();
    } catch (e) {
      const [what, hint] = e.message === "refused" ? ["Nothing was changed: you may only read.", "Log in as an admin."] :
        ["No answer came: the change may or may not have been made.", "Look at the holds on the page Cluster, then try again."];
      $("#told").innerHTML = '<div class="told bad" role="alert"><p><strong>' + what + '</strong> <span>' + hint + '</span></p><button type="button" data-close aria-label="Close this message">×</button></div>';
    }
    form.inert = false;
  });

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
    for (const name of ["app", "dea"]) if (body.dataset[name]) query.set(name, body.dataset[name]);
    if (body.dataset.after) query.set("after", body.dataset.after);
    const source = stream = new EventSource("/v1/events?" + query);
    const heard = (e) => { if (e.lastEventId) body.dataset.after = e.lastEventId; told = performance.now(); soon(); };
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
  document.addEventListener("click", (e) => {
    if (e.target.closest("[data-pause]")) pause();
    if (e.target.closest("[data-close]")) $("#told").replaceChildren();
  });

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

  // Charts: what the page has as numbers, drawn by uPlot. Colours are those of the legend.
  const charts = {};
  const colour = (selector) => { const e = $(selector); return e ? getComputedStyle(e).color : "gray"; };
  const kinds = ["missing", "crashed", "evacuating", "extra", "duplicate", "undesired"];

  function closedTimes(u) { // hatches when the gate was closed
    const open = charts.data.open, at = charts.data.at, { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    for (let i = 1; i < at.length; i++) {
      if (open[i]) continue;
      const from = u.valToPos(at[i - 1], "x", true), to = u.valToPos(at[i], "x", true);
      ctx.rect(from, bbox.top, to - from + 0.5, bbox.height);
    }
    ctx.clip();
    ctx.strokeStyle = colour(".gate-closed .swatch");
    ctx.globalAlpha = 0.45;
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    for (let x = bbox.left - bbox.height; x < bbox.left + bbox.width; x += 7 * devicePixelRatio) {
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
  }

  function options(element, series, bands) {
    const ink = getComputedStyle(element).color, line = getComputedStyle($(".panel")).borderTopColor;
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    return {
      width: element.clientWidth, height: element.clientHeight, series: [{}, ...series], bands, padding: [8, 8, 0, 0],
      legend: { show: false }, cursor: { sync: { key: "overview" }, points: { show: false }, drag: { x: false } },
      axes: [{ ...axis, size: 24, values: (u, at, _, __, step) => at.map((t) => new Date(t * 1e3).toISOString().slice(11, step < 60 ? 19 : 16)), space: 70 }, { ...axis, size: 48, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6],
        values: (u, v) => v.map((n) => Math.abs(n).toLocaleString("en").replaceAll(",", "\u202f")) }],
      scales: { y: { range: (u, low, high) => [Math.min(0, low), Math.max(1, high, low < 0 ? 0 : 4)] } },
      tzDate: (t) => uPlot.tzDate(new Date(t * 1e3), "Etc/UTC"), hooks: { drawAxes: [closedTimes] },
    };
  }

  function stacked(d) { // the topmost first, each on those below it
    const sums = [], below = d.at.map(() => 0);
    for (const k of [...d.kinds].reverse()) sums.unshift(k.map((n, i) => (below[i] += n)));
    return [d.at, ...sums];
  }

  function draw(anew) {
    const data = $("#chart-data"), drift = $("#chart-drift"), sent = $("#chart-sent");
    if (!data || !drift || typeof uPlot === "undefined") return;
    charts.data = JSON.parse(data.textContent);
    const d = charts.data, mirrored = [d.at, d.starts, d.stops.map((n) => -n)];
    if (charts.drift && !anew) {
      charts.drift.setData(stacked(d));
      charts.sent.setData(mirrored);
      return;
    }
    for (const c of [charts.drift, charts.sent]) if (c) c.destroy();
    const stepped = uPlot.paths.stepped({ align: -1 }), bars = uPlot.paths.bars({ size: [0.8, 24] });
    charts.drift = new uPlot(options(drift, kinds.map((k) => {
      const c = colour(".kind-" + k + " .swatch");
      return { label: k, stroke: c, fill: c.replace("rgb(", "rgba(").replace(")", ", 0.35)"), width: 1.5, paths: stepped, points: { show: false } };
    }), kinds.slice(1).map((_, i) => ({ series: [i + 1, i + 2] }))), stacked(d), drift);
    charts.sent = new uPlot(options(sent, [[".sent-starts", "starts"], [".sent-stops", "stops"]].map(([s, label]) => {
      const c = colour(s + " .swatch");
      return { label, stroke: c, fill: c, width: 0, paths: bars, points: { show: false } };
    })), mirrored, sent);
  }
  if ($("#chart-drift")) {
    draw(true);
    document.addEventListener("hm:renewed", () => draw(!charts.drift));
    document.addEventListener("hm:theme", () => draw(true));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(true));
    let width = innerWidth;
    addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(true); } });
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

  // The map of DEAs: pointing at a cell names its DEA, pressing it opens its page. The map has no ids; the server knows them.
  function cellPath(e) {
    const map = e.target.closest && e.target.closest("#map");
    if (!map || e.target.closest("a")) return "";
    const at = new DOMPoint(e.clientX, e.clientY).matrixTransform(map.getScreenCTM().inverse());
    const n = Math.floor(at.y / 10) * map.dataset.columns + Math.floor(at.x / 10);
    return n >= 0 && n < map.dataset.shown ? map.dataset.cell + n : "";
  }
  let pointed = "", naming;
  document.addEventListener("pointermove", (e) => {
    const path = cellPath(e);
    if (path === pointed) return;
    pointed = path;
    clearTimeout(naming);
    if (path) naming = setTimeout(async () => {
      const answer = await fetch(path + "?about").catch(() => null);
      if (answer && answer.ok && path === pointed) $("#map-about").textContent = await answer.text();
    }, 60);
  });
  document.addEventListener("click", (e) => { const path = cellPath(e); if (path) location.assign(path); });

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

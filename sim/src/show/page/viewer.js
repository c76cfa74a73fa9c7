// Draws `data` (see data.rs) and shows it event by event. The page has no rule. All text reaches the page
// as text, never as markup.
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const { events, adverts, members, texts } = data;

// At most this many of each are drawn at once.
const MOST_ADVERTS = 600;
const MOST_DOTS = 1500;
// Pixels.
const LEFT = 96, RIGHT = 20, TOP = 56, ROW = 34, BOTTOM = 2 * ROW + 12;
const ROLE = 24, LEASE = 8, ANSWERS = 18, LANE = ROLE + LEASE + ANSWERS + 16;
// Units of a time in one of what is shown: ms, or ticks.
const ONE = 1e6;
const { unit, interval } = data;

const $ = (id) => document.getElementById(id);
const times = events.map((e) => e.t);
const lanes = d3.range(members.length).filter((m) => members[m].traced);
// By member: the events that may have changed it.
const ofMember = members.map(() => []);
events.forEach((e, n) => {
  if (e.member !== undefined && (e.belief || e.died)) ofMember[e.member].push(n);
});
// By event: the adverts that it sent or heard.
const ofEvent = new Map();
const note = (event, advert) => {
  if (event === null) return;
  if (!ofEvent.has(event)) ofEvent.set(event, []);
  ofEvent.get(event).push(advert);
};
adverts.forEach((a) => { note(a.sent, a); note(a.heard, a); });
const drawn = adverts.filter((a) => members[a.to]?.traced && events[a.sent].member !== a.to);
const sentAt = drawn.map((a) => times[a.sent]);
const lags = drawn.filter((a) => a.heard !== null).map((a) => times[a.heard] - times[a.sent]);
const longest = Math.max(0, d3.max(lags) ?? 0);
const usual = Math.max(0, d3.median(lags) ?? 0);

const begin = times.length ? Math.min(0, times[0]) : 0;
const end = Math.max(data.end, begin + ONE);
const margin = (end - begin) / 100;
const whole = d3.scaleLinear([(begin - margin) / ONE, (end + margin) / ONE], [0, 1]);
const least = 0.01; // in view when zoomed in fully

// First the group in which two answered.
let group = Math.max(0, data.groups.findIndex((g) => g.violations.length));
let now = 0;
let transform = d3.zoomIdentity;
let x = whole.copy();
let width = 0, height = 0;

// Words.

const name = (m) => members[m]?.name ?? "?";
const names = (list) => list.map(name).join(", ");
const count = d3.format(",");
// In a tick, only the order of things is known.
const exact = (t) => (unit === "ticks" ? `tick ${count(Math.floor(t / ONE))}` : `${d3.format(",.3f")(t / ONE)} ms`);
const rough = (time) => {
  const n = Math.abs(time) / ONE;
  if (unit === "ticks") return Math.round(n) === 1 ? "1 tick" : `${count(Math.round(n))} ticks`;
  return `${d3.format(n < 10 ? ",.1f" : ",.0f")(n)} ${unit}`;
};
const holds = (list, t) => list.find(([from, until]) => from <= t && t < until);

// Elements. A child is an element or a text.

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((c) => c !== null));
  return element;
}

// A text in which rules can be pointed at.
function withRules(text) {
  const parts = text.split(/(R-\d+)/).map((part) => {
    const number = /^R-(\d+)$/.exec(part)?.[1];
    if (number === undefined) return part;
    const rule = make("span", "rule", part);
    rule.title = data.rules[number] ?? "";
    return rule;
  });
  return parts.filter((part) => part !== "");
}

// The picture.

const svg = d3.select("#picture");
const defs = svg.append("defs");
function pattern(id, colour, back) {
  const p = defs.append("pattern").attr("id", id).attr("patternUnits", "userSpaceOnUse")
    .attr("width", 6).attr("height", 6).attr("patternTransform", "rotate(45)");
  p.append("rect").attr("width", 6).attr("height", 6).style("fill", colour).style("opacity", back);
  p.append("rect").attr("width", 2).attr("height", 6).style("fill", colour);
}
pattern("stripes", "var(--faint)", 0.15);
pattern("quarantine", "var(--paper)", 0);
function marker(id) {
  return defs.append("marker").attr("id", id).attr("viewBox", "-8 -5 10 10")
    .attr("markerWidth", 8).attr("markerHeight", 8).attr("markerUnits", "userSpaceOnUse").attr("orient", "auto");
}
marker("arrow").append("path").attr("class", "arrow").attr("d", "M0,0L-8,-4L-8,4Z");
marker("cross").append("path").attr("class", "cross").attr("d", "M-4,-4L4,4M-4,4L4,-4");
defs.append("clipPath").attr("id", "clip").append("rect");
const axis = svg.append("g").attr("transform", "translate(0,32)");
const fixed = svg.append("g");
const body = svg.append("g").attr("clip-path", "url(#clip)");
const layer = {};
for (const of of ["shades", "adverts", "bars", "labels", "rows", "dots", "cursor"]) {
  layer[of] = body.append("g");
}
const hint = svg.append("text").attr("class", "hint").attr("text-anchor", "middle");
const diamond = d3.symbol(d3.symbolDiamond, 46)();

const zoom = d3.zoom().on("zoom", (e) => { transform = e.transform; draw(); });
svg.call(zoom).on("dblclick.zoom", null);

// Where a lane has what.
const step = () => (height - TOP - BOTTOM - LANE - 14) / Math.max(1, lanes.length - 1);
const top = (lane) => TOP + 4 + lane * step();
const base = (lane) => top(lane) + LANE - 5;
const row = (n) => height - BOTTOM + 8 + n * ROW;
const at = (t) => x(t / ONE);

function resize() {
  const box = svg.node().getBoundingClientRect();
  [width, height] = [box.width, box.height];
  const inner = [[LEFT, 0], [width - RIGHT, height]];
  whole.range([LEFT, width - RIGHT]);
  const most = (whole.domain()[1] - whole.domain()[0]) / least;
  zoom.extent(inner).translateExtent(inner).scaleExtent([1, most]);
  defs.select("#clip rect").attr("x", LEFT).attr("y", 0)
    .attr("width", Math.max(0, width - LEFT - RIGHT)).attr("height", height);
  hint.attr("x", (LEFT + width) / 2).attr("y", (base(0) + top(1)) / 2 + 4);
  const rows = ["requests", "answering"].map((text, n) => ({ text, y: row(n) + 15, of: "small" }));
  const own = lanes.map((m, lane) => ({ text: name(m), y: top(lane) + 17, of: "name" }));
  fixed.selectAll("text").data([...own, ...rows]).join("text")
    .attr("class", (d) => d.of).attr("x", 12).attr("y", (d) => d.y).text((d) => d.text);
  const lines = [...lanes.map((_, lane) => base(lane)), height - BOTTOM];
  fixed.selectAll("line").data(lines).join("line").attr("class", "base")
    .attr("x1", LEFT).attr("x2", width - RIGHT).attr("y1", (y) => y).attr("y2", (y) => y);
  draw();
}

// What of a list of stretches is in view, and not two on the same pixel.
function inView(list, of) {
  const [from, until] = x.domain().map((ms) => ms * ONE);
  const shown = [];
  let pixel = -Infinity;
  for (const d of list) {
    const [a, b] = of(d);
    if (b < from || a > until) continue;
    const x1 = Math.max(at(a), LEFT - 5), x2 = Math.min(at(b), width);
    if (x2 <= pixel) continue;
    pixel = Math.max(x2, x1 + 1);
    shown.push({ d, x1, x2: pixel });
  }
  return shown;
}
const stretch = ([from, until]) => [from, until];

function rects(to, list) {
  to.selectAll("rect").data(list).join("rect").attr("class", (r) => r.of)
    .attr("x", (r) => r.x1).attr("width", (r) => r.x2 - r.x1)
    .attr("y", (r) => r.y).attr("height", (r) => r.h);
}

function draw() {
  x = transform.rescaleX(whole);
  const ticks = Math.max(2, Math.floor((width - LEFT) / 110));
  axis.call(d3.axisTop(x).ticks(ticks).tickFormat((ms, n) => count(ms) + (n === 0 ? ` ${unit}` : "")));
  drawShades();
  drawBars();
  drawRows();
  drawDots();
  drawAdverts();
  drawCursor();
}

function drawShades() {
  const shown = [], lines = [];
  const add = (of, from, until, tip) => {
    for (const s of inView([[from, until]], stretch)) shown.push({ ...s, of, y: 32, h: height - 32, tip });
  };
  for (const fault of data.faults) {
    const tip = () => `fault at ${exact(fault.at)}: ${fault.text}`;
    if (fault.until !== null) add("fault", fault.at, fault.until, tip);
    lines.push({ of: "fault-line", t: fault.at, until: fault.until, text: fault.text, tip });
  }
  for (const v of data.groups[group].violations) {
    const tip = () => `${names(v.members)} answer at once for ${rough(v.until - v.from)}`;
    add("violation", v.from, v.until, tip);
    lines.push({ of: "violation-line", t: v.from, tip }, { of: "violation-line", t: v.until, tip });
  }
  rects(layer.shades, shown);
  const seen = inView(lines, (l) => [l.t, l.t]);
  layer.shades.selectAll("line").data(seen.map((s) => ({ ...s.d, x: at(s.d.t) }))).join("line")
    .attr("class", (l) => l.of).attr("x1", (l) => l.x).attr("x2", (l) => l.x).attr("y1", 32).attr("y2", height);
  const labels = [];
  const [first, last] = x.domain().map((n) => n * ONE);
  const named = lines.filter((l) => l.text && l.t <= last && (l.until ?? l.t) >= first);
  // What is broken before what is healed, where there is no room for both.
  const heals = (l) => l.text.startsWith("heal");
  for (const d of d3.sort(named, heals)) {
    // Beside its line; before it, where there is no room behind it.
    const length = d.text.length * 7, fits = width - RIGHT - length;
    const from = Math.max(Math.min(at(d.t) + 5, fits), LEFT + 5);
    if (labels.some((l) => from < l.x + l.length + 10 && l.x < from + length + 10)) continue;
    labels.push({ x: from, length, text: d.text });
  }
  layer.shades.selectAll("text").data(labels).join("text").attr("class", "label fault-text")
    .attr("x", (l) => l.x).attr("y", 48).text((l) => l.text);
}

function drawBars() {
  const shown = [], labels = [];
  lanes.forEach((m, lane) => {
    const { roles, leases, effective } = data.groups[group].lanes[m];
    const y = top(lane);
    const add = (list, of, y, h, tip) => {
      for (const s of inView(list, stretch)) {
        shown.push({ ...s, of: of(s.d), y, h, tip: () => tip(s.d) });
        const text = of(s.d).split(" ").pop();
        if (h > LEASE && Math.min(s.x2, width - RIGHT) - Math.max(s.x1, LEFT) > text.length * 7 + 10) {
          labels.push({ text, of: `label ${text}`, x: Math.max(s.x1, LEFT) + 6, y: y + h / 2 + 4 });
        }
      }
    };
    const span = ([from, until]) => `${exact(from)} to ${exact(until)}: ${rough(until - from)}`;
    add(roles, (d) => `role ${d[2]}`, y, ROLE, (d) => `${name(m)} believes that it is ${d[2]}\n${span(d)}`);
    add(leases, () => "lease", y + ROLE + 1, LEASE, (d) => `lease of ${name(m)}\n${span(d)}`);
    add(effective, () => "answers", y + ROLE + LEASE + 2, ANSWERS, (d) => `the kernel of ${name(m)} answers\n${span(d)}`);
    for (const [of, what] of [["quarantine", "in quarantine (R-9)"], ["paused", "paused"]]) {
      for (const s of inView(members[m][of], stretch)) {
        shown.push({ ...s, of, y, h: ROLE, tip: () => `${name(m)} is ${what}\n${span(s.d)}` });
      }
    }
  });
  rects(layer.bars, shown);
  layer.labels.selectAll("text").data(labels).join("text")
    .attr("class", (l) => l.of).attr("x", (l) => l.x).attr("y", (l) => l.y).text((l) => l.text);
}

function drawRows() {
  const { requests, unanswered, outages, violations } = data.groups[group];
  const shown = [], labels = [];
  const [from, until] = x.domain().map((ms) => ms * ONE);
  const first = d3.bisector((r) => r[0]).left(requests, from);
  let pixel = -1, failed = false;
  for (let n = first; n < requests.length && requests[n][0] <= until; n += 1) {
    const [t, by] = requests[n];
    const px = Math.round(at(t));
    // On one pixel, a failure is what counts.
    if (px === pixel && (failed || by !== null)) continue;
    [pixel, failed] = [px, by === null];
    const of = failed ? "failed" : "answered";
    const tip = () => `request at ${exact(t)}: ${by === null ? "failed" : `answered by ${name(by)}`}`;
    shown.push({ of, x1: px, x2: px + 1, y: row(0) + (failed ? 0 : 6), h: failed ? 16 : 10, tip });
  }
  const add = (list, n, text, tip) => {
    for (const s of inView(list, stretch)) {
      shown.push({ ...s, of: "stretch", y: row(n) + 17, h: 4, tip: () => tip(s.d) });
      const label = text(s.d);
      if (s.x2 - s.x1 > label.length * 6) {
        labels.push({ text: label, x: (Math.max(s.x1, LEFT) + Math.min(s.x2, width - RIGHT)) / 2, y: row(n) + 12 });
      }
    }
  };
  const length = (d) => rough(d[1] - d[0]);
  add(unanswered, 0, length, (d) => `no answer for ${length(d)}`);
  add(outages, 1, (d) => `outage ${length(d)}`, (d) => `outage: no kernel answers for ${length(d)}`);
  const both = violations.map((v) => [v.from, v.until]);
  add(both, 1, (d) => `two for ${length(d)}`, (d) => `two answer at once for ${length(d)}`);
  rects(layer.rows, shown);
  const absent = [];
  if (!requests.length) absent.push({ text: "not in these traces", n: 0 });
  if (!data.kernels) absent.push({ text: "who answers is not in these traces", n: 1 });
  for (const u of absent) labels.push({ text: u.text, x: LEFT + 20, y: row(u.n) + 15, of: "small" });
  layer.rows.selectAll("text").data(labels).join("text").attr("class", (l) => l.of ?? "label stretch")
    .attr("text-anchor", (l) => (l.of ? "start" : "middle")).attr("x", (l) => l.x).attr("y", (l) => l.y).text((l) => l.text);
}

// The events in view: the places of the first, and of the one after the last.
function eventsInView() {
  const [from, until] = x.domain().map((ms) => ms * ONE);
  return [d3.bisectLeft(times, from), d3.bisectRight(times, until)];
}

function drawDots() {
  const [first, last] = eventsInView();
  const all = last - first <= MOST_DOTS;
  const shown = [], pixels = new Set();
  for (let n = first; n < last; n += 1) {
    const e = events[n], lane = lanes.indexOf(e.member);
    if (lane < 0 || !(all || e.mark)) continue;
    const px = Math.round(at(e.t) * (all ? 4 : 0.25));
    const key = `${px} ${lane} ${e.mark}`;
    if (pixels.has(key)) continue;
    pixels.add(key);
    shown.push({ n, x: at(e.t), y: base(lane), mark: e.mark, tip: () => `${exact(e.t)}, ${name(e.member)}: ${texts[e.what]}` });
  }
  layer.dots.selectAll("circle").data(shown.filter((d) => !d.mark)).join("circle").attr("class", "dot")
    .attr("cx", (d) => d.x).attr("cy", (d) => d.y).attr("r", 2.5);
  layer.dots.selectAll("path").data(shown.filter((d) => d.mark)).join("path").attr("class", "mark")
    .attr("d", diamond).attr("transform", (d) => `translate(${d.x},${d.y})`);
}

let arrows = [];
function drawAdverts() {
  const [from, until] = x.domain().map((ms) => ms * ONE);
  const first = d3.bisectLeft(sentAt, from - longest), last = d3.bisectRight(sentAt, until);
  const shown = [];
  for (let n = first; n < last; n += 1) {
    const a = drawn[n];
    if (a.heard === null ? sentAt[n] >= from : times[a.heard] >= from) shown.push(a);
  }
  const few = shown.length <= MOST_ADVERTS;
  arrows = (few ? shown : ofEvent.get(now) ?? []).map(arrow).filter((a) => a !== null);
  hint.text(few ? "" : `${count(shown.length)} adverts are in view: zoom in to see them`);
  layer.adverts.selectAll("line").data(arrows).join("line")
    .attr("class", (a) => `advert${a.lost ? " lost" : ""}${a.sent === now || a.heard === now ? " now" : ""}`)
    .attr("marker-end", (a) => `url(#${a.lost ? "cross" : "arrow"})`)
    .attr("x1", (a) => a.x1).attr("y1", (a) => a.y1).attr("x2", (a) => a.x2).attr("y2", (a) => a.y2);
}

function arrow(a) {
  const from = lanes.indexOf(events[a.sent].member), to = lanes.indexOf(a.to);
  if (from < 0 || to < 0 || from === to) return null;
  const lost = a.heard === null;
  const [y1, y2] = from < to ? [base(from) + 4, top(to) - 4] : [top(from) - 4, base(to) + 5];
  const [x1, x2] = [at(times[a.sent]), at(lost ? times[a.sent] + usual : times[a.heard])];
  const part = lost ? 0.45 : 1;
  const fate = lost ? "not received in these traces" : `received after ${rough(times[a.heard] - times[a.sent])}`;
  const tip = () => `${name(events[a.sent].member)} to ${name(a.to)}: ${texts[a.says]}\nsent ${exact(times[a.sent])}, ${fate}`;
  return { ...a, lost, x1, y1, x2: x1 + (x2 - x1) * part, y2: y1 + (y2 - y1) * part, tip };
}

function drawCursor() {
  const e = events[now];
  const here = e ? [{ x: at(e.t), lane: lanes.indexOf(e.member) }] : [];
  layer.cursor.selectAll("line").data(here).join("line").attr("class", "cursor")
    .attr("x1", (c) => c.x).attr("x2", (c) => c.x).attr("y1", 32).attr("y2", height);
  layer.cursor.selectAll("circle").data(here.filter((c) => c.lane >= 0)).join("circle")
    .attr("class", "cursor-dot").attr("cx", (c) => c.x).attr("cy", (c) => base(c.lane)).attr("r", 6);
}

// The panel.

function showEvent() {
  const e = events[now], to = $("event");
  if (!e) return to.replaceChildren("There is no event in these traces.");
  const when = make("div", "when", make("span", "", exact(e.t)), make("span", "", `event ${count(now + 1)} of ${count(events.length)}`));
  const who = make("h2", "", e.member === undefined ? "the world" : name(e.member));
  const what = make("p", "what", ...withRules(texts[e.what]));
  const did = make("ul", "", ...(e.did ?? []).map((d) => make("li", "", ...withRules(texts[d]))));
  const rest = e.did || e.mark ? [] : [make("p", "faint", "nothing came of it")];
  const violation = data.groups[group].violations.find((v) => v.from <= e.t && e.t < v.until);
  if (violation) rest.push(make("p", "alarm", `${names(violation.members)} answer at once`));
  for (const f of data.faults) {
    if (f.at <= e.t && f.until !== null && e.t < f.until) rest.push(make("p", "fault", `${f.text}, since ${exact(f.at)}`));
  }
  const place = make("p", "place", `${data.files[e.file]}:${e.line}`);
  to.replaceChildren(when, who, what, did, ...rest, place);
}

function showBeliefs() {
  const t = events[now]?.t ?? 0;
  $("beliefs").replaceChildren(...lanes.map((m) => card(m, t)));
}

// What a member believed after its latest event.
function card(m, t) {
  const own = ofMember[m], latest = events[own[d3.bisectRight(own, now) - 1]];
  const answers = holds(data.groups[group].lanes[m].effective, t);
  const head = make("div", "head", make("h3", "", name(m)), answers ? make("span", "tag answers", "answers") : null);
  const to = make("div", events[now]?.member === m ? "card now" : "card", head);
  if (!latest || latest.died) {
    head.append(make("span", "tag dead", latest ? "dead" : "not started"));
    return to;
  }
  const belief = latest.belief, view = data.views[belief.views[group]];
  if (!view) return to;
  if (holds(members[m].paused, t)) head.append(make("span", "tag dead", "paused"));
  head.append(make("span", `tag ${view.role}`, view.role));
  const lines = [];
  if (belief.quarantine !== undefined) lines.push(`in quarantine for ${rough(belief.quarantine - t)} more (R-9)`);
  const holder = view.holder === null ? "sees no holder" : `holder: ${view.holder === m ? "itself" : name(view.holder)}`;
  const left = view.lease === null ? "" : view.lease > t ? `, lease for ${rough(view.lease - t)} more` : ", its lease is over";
  lines.push(holder + left);
  if (view.votes.length) lines.push(`votes that stand for it: ${names(view.votes)}`);
  if (view.vote !== null) {
    const bound = view.vote_until > t ? `for ${rough(view.vote_until - t)} more` : "until its next turn";
    lines.push(`its vote: ${name(view.vote)}, ${bound}`);
  } else if (view.role !== "holder") lines.push("its vote is free");
  if (texts[view.is]) lines.push(texts[view.is]);
  to.append(...lines.map((line) => make("p", "", ...withRules(line))));
  const rows = belief.peers.map((p) => peer(data.peers[p], t));
  to.append(make("table", "", make("tbody", "", ...rows)));
  return to;
}

function peer(p, t) {
  const heard = p.heard === null ? "never heard" : `${rough(t - p.heard)} ago`;
  const way = p.two_way ? "two-way" : p.heard === null ? "" : "not two-way";
  const says = [p.quarantined ? "in quarantine" : "", texts[p.says[group]] ?? ""].filter(Boolean).join(", ");
  return make("tr", "", make("td", "", name(p.member)), make("td", "", heard), make("td", "", [way, says].filter(Boolean).join(": ")));
}

// Steps.

function go(n) {
  if (!events.length) return;
  now = Math.min(Math.max(n, 0), events.length - 1);
  history.replaceState(null, "", `#event=${now + 1}`);
  showEvent();
  showBeliefs();
  const here = at(events[now].t), edge = (width - LEFT - RIGHT) / 12;
  if (here < LEFT + edge || here > width - RIGHT - edge) {
    // It calls draw, unless nothing moves.
    svg.call(zoom.translateTo, whole(events[now].t / ONE), 0);
  }
  draw();
}

// Shows some time.
function look(from, until) {
  const k = (whole.range()[1] - LEFT) / (whole(until / ONE) - whole(from / ONE));
  svg.call(zoom.transform, d3.zoomIdentity.translate(LEFT - k * whole(from / ONE), 0).scale(k));
}

// The next violation after this event; after the last one the first.
function jump() {
  const all = data.groups[group].violations;
  const next = all.find((v) => v.event > now) ?? all[0];
  if (!next) return;
  const span = Math.min(Math.max((next.until - next.from) * 1.5, 3 * interval), 30 * interval);
  look(next.from - span * 0.4, next.from + span * 0.6);
  go(next.event);
}

const zoomBy = (factor) => svg.call(zoom.scaleBy, factor, events.length ? [at(events[now].t), 0] : undefined);
const all = () => svg.call(zoom.transform, d3.zoomIdentity);
const keys = {
  ArrowLeft: () => go(now - 1), ArrowRight: () => go(now + 1), Home: () => go(0), End: () => go(events.length - 1),
  v: jump, "+": () => zoomBy(2), "=": () => zoomBy(2), "-": () => zoomBy(0.5), 0: all,
};
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.tagName === "SELECT" || !Object.hasOwn(keys, e.key)) return;
  e.preventDefault();
  keys[e.key]();
});
const buttons = { first: "Home", back: "ArrowLeft", next: "ArrowRight", last: "End", out: "-", in: "+", all: "0", verdict: "v" };
for (const [id, key] of Object.entries(buttons)) $(id).addEventListener("click", () => keys[key]());

// Pointing.

const distance = (a, px, py) => {
  const [dx, dy] = [a.x2 - a.x1, a.y2 - a.y1];
  const part = Math.min(1, Math.max(0, ((px - a.x1) * dx + (py - a.y1) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(px - a.x1 - part * dx, py - a.y1 - part * dy);
};
function pointed(e) {
  const under = d3.select(e.target).datum();
  if (under?.n !== undefined) return under;
  const [px, py] = d3.pointer(e, svg.node());
  const near = d3.least(arrows, (a) => distance(a, px, py));
  return near && distance(near, px, py) < 5 ? near : under;
}
svg.on("pointermove", (e) => {
  const tip = e.buttons ? undefined : pointed(e)?.tip;
  $("tip").hidden = !tip;
  if (!tip) return;
  $("tip").textContent = tip();
  const box = $("tip").getBoundingClientRect();
  $("tip").style.left = `${Math.min(e.clientX + 14, innerWidth - box.width - 8)}px`;
  $("tip").style.top = `${Math.min(e.clientY + 16, innerHeight - box.height - 8)}px`;
});
svg.on("pointerleave", () => { $("tip").hidden = true; });
svg.on("click", (e) => {
  const on = pointed(e);
  if (on?.n !== undefined) return go(on.n);
  if (on?.sent !== undefined) return go(on.sent);
  const [px, py] = d3.pointer(e, svg.node());
  const lane = lanes.findIndex((_, n) => py >= top(n) && py < top(n) + LANE);
  const t = x.invert(px) * ONE;
  // In a lane, the nearest of that member; elsewhere the nearest of all.
  const own = lane >= 0 ? ofMember[lanes[lane]] : d3.range(events.length);
  const near = d3.bisector((n) => times[n]).center(own, t);
  if (own.length) go(own[near]);
});

// What stands around it.

function legend() {
  const box = (of, draw) => {
    const li = make("li", "");
    const icon = d3.select(li).append("svg").attr("width", 26).attr("height", 12);
    draw(icon);
    li.append(of);
    return li;
  };
  const rect = (of) => (s) => s.append("rect").attr("class", of).attr("y", 1).attr("width", 26).attr("height", 10);
  const line = (of, end) => (s) => s.append("line").attr("class", of).attr("marker-end", `url(#${end})`)
    .attr("x1", 1).attr("x2", 21).attr("y1", 6).attr("y2", 6);
  $("legend").replaceChildren(
    ...["holder", "standby", "releasing", "witness"].map((role) => box(role, rect(`role ${role}`))),
    box("lease", rect("lease")),
    box("its kernel answers", rect("answers")),
    box("two answer", rect("violation")),
    box("fault, until healed", rect("fault")),
    box("in quarantine", (s) => { rect("role standby")(s); rect("quarantine")(s); }),
    box("paused", rect("paused")),
    box("advert", line("advert", "arrow")),
    box("not received", line("advert lost", "cross")),
    box("role, peer or process changes", (s) => s.append("path").attr("class", "mark").attr("d", diamond).attr("transform", "translate(13,6)")),
  );
}

function verdict() {
  const all = data.groups[group].violations, total = d3.sum(all, (v) => v.until - v.from);
  const to = $("verdict");
  const of = data.groups.length > 1 ? `${data.groups[group].name}: ` : "";
  to.disabled = !all.length;
  if (all.length) {
    to.className = "alarm";
    to.textContent = `✗ ${of}two answered at once, for ${rough(total)}: show it (v)`;
  } else {
    to.className = data.kernels ? "well" : "unknown";
    to.textContent = data.kernels ? `✓ ${of}never two at once` : "who answered is not in these traces";
  }
}

function start() {
  document.title = `Onehold: ${data.cluster}`;
  $("cluster").textContent = `cluster ${data.cluster}, ${data.arbitration}`;
  $("clocks").textContent = data.clocks;
  $("replay").open = !data.good;
  $("replay").querySelector("summary").textContent = data.good
    ? "✓ the core does what was recorded" : "✗ the replay found something wrong";
  $("replay").querySelector("pre").textContent = data.replay;
  $("group").replaceChildren(...data.groups.map((g, n) => new Option(g.violations.length ? `${g.name} ✗` : g.name, n)));
  $("group").value = group;
  $("group").hidden = data.groups.length < 2;
  $("group").addEventListener("change", () => { group = Number($("group").value); verdict(); go(now); });
  legend();
  verdict();
  resize();
  new ResizeObserver(resize).observe(svg.node());
  const asked = /^#event=(\d+)$/.exec(location.hash)?.[1];
  if (asked === undefined) return go(0);
  const n = Math.min(Math.max(asked - 1, 0), events.length - 1), t = times[n] ?? 0;
  look(t - 5 * interval, t + 5 * interval);
  go(n);
}
start();
})();

"use strict";
// What the server must know of this browser, and what must not wait for the server.
(() => {
  const year = "; path=/; max-age=31536000; samesite=lax";
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = "opencrate_zone=" + encodeURIComponent(zone) + year;

  const oc = (window.oc = {});
  oc.theme = (dark) => { document.cookie = "opencrate_theme=" + (dark ? "dark" : "light") + year; };
  oc.menu = (open) => document.body.classList.toggle("oc-open", open);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") oc.menu(false); });
  document.addEventListener("click", (event) => { if (event.target.closest?.(".oc-side a")) oc.menu(false); });

  // Names come from devices: in a chart's tooltip they are text.
  const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  const pad = (n, width = 2) => String(n).padStart(width, "0");
  const moment = (ms) => {
    const d = new Date(ms);
    return `${d.toLocaleDateString(undefined, { weekday: "short", day: "numeric", month: "short" })} ` +
      `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
  };
  const numeral = (value, decimals) =>
    value.toLocaleString(undefined, { minimumFractionDigits: decimals, maximumFractionDigits: decimals });

  // The last known value of a line at a time; null where the line is broken.
  const valueAt = (rows, time) => {
    let low = 0, high = rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle][0] <= time) low = middle + 1; else high = middle;
    }
    return low ? rows[low - 1][1] : null;
  };

  // All lines at the pointer's time, also those with no sample just there. `meta` is one entry per line:
  // {name, unit, decimals, states}.
  oc.tooltip = (id, meta) => (items) => {
    const option = getElement(id)?.chart?.getOption();
    if (!option || !items.length) return "";
    const time = items[0].axisValue;
    const rows = option.series
      .map((line, index) => ({ m: meta[line.id], value: valueAt(line.data, time), color: option.color[index % option.color.length] }))
      .filter(({ m, value }) => m && value !== null && value !== undefined)
      .map(({ m, value, color }) => {
        const text = m.states ? m.states[String(value)] ?? String(value) : `${numeral(value, m.decimals)} ${m.unit}`;
        return `<div style="display:flex;gap:10px;align-items:center"><span style="width:10px;height:10px;border-radius:3px;background:${color}"></span>` +
          `<span style="flex:1">${escape(m.name)}</span><b style="font-variant-numeric:tabular-nums">${escape(text)}</b></div>`;
      });
    return rows.length ? `<div style="margin-bottom:4px;opacity:.7">${moment(time)}</div>${rows.join("")}` : "";
  };
})();

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

  // `meta` is one entry per shown line: {name, unit, decimals, states}. Band series have no entry of their own.
  oc.tooltip = (meta) => (items) => {
    const rows = items
      .filter((item) => meta[item.seriesId] && item.value[1] !== null && item.value[1] !== undefined)
      .map((item) => {
        const m = meta[item.seriesId];
        const value = item.value[1];
        const text = m.states ? m.states[String(value)] ?? String(value) : `${numeral(value, m.decimals)} ${m.unit}`;
        return `<div style="display:flex;gap:10px;align-items:center"><span style="width:10px;height:10px;border-radius:3px;background:${item.color}"></span>` +
          `<span style="flex:1">${escape(m.name)}</span><b style="font-variant-numeric:tabular-nums">${escape(text)}</b></div>`;
      });
    return rows.length ? `<div style="margin-bottom:4px;opacity:.7">${moment(items[0].axisValue)}</div>${rows.join("")}` : "";
  };

  // Live extension: only what is new travels, the chart keeps the rest.
  oc.extend = (id, from, to, fresh) => {
    const chart = getElement(id)?.chart;
    if (!chart) return;
    const option = chart.getOption();
    const series = option.series.map((line) => {
      const more = fresh[line.id];
      if (!more) return { id: line.id };
      return { id: line.id, data: line.data.filter((row) => row[0] >= from).concat(more) };
    });
    chart.setOption({ xAxis: [{ id: "time", min: from, max: to }], series });
  };
  oc.series = (id, data) => {
    getElement(id)?.chart?.setOption({ series: Object.entries(data).map(([key, rows]) => ({ id: key, data: rows })) });
  };
  oc.zoom = (id, start, end) =>
    getElement(id)?.chart?.dispatchAction({ type: "dataZoom", start, end });
})();

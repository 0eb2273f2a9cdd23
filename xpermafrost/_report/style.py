"""How a report looks: one style sheet, dark and light, screen and paper."""

from __future__ import annotations

#: Colours have a contrast of 4.5 or more to their ground (WCAG 2.2, 1.4.3), in both schemes.
STYLE = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --raised: #f3f5f7; --text: #1b2127; --soft: #4d5862; --line: #cfd6dc;
  --link: #00558c; --alert: #7a2e00; --alert-ground: #fff1e6;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ground: #14181c; --raised: #1e242a; --text: #e4e9ed; --soft: #a9b5bf; --line: #3a444d;
    --link: #7cc4f5; --alert: #ffc9a3; --alert-ground: #3a2414;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif;
}
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 1.25rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 1.5rem 0 0.25rem; overflow-wrap: anywhere; }
h2 {
  font-size: 1.35rem; margin: 2.75rem 0 0.75rem; padding-bottom: 0.25rem;
  border-bottom: 1px solid var(--line);
}
h3 { font-size: 1.1rem; margin: 1.75rem 0 0.5rem; overflow-wrap: anywhere; }
p, li { max-width: 48rem; overflow-wrap: anywhere; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible, .scroll:focus-visible {
  outline: 3px solid var(--link); outline-offset: 2px;
}
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: 0.5rem; padding: 0.5rem; background: var(--ground); }
nav ol { columns: 15rem; padding-left: 1.5rem; }
.soft { color: var(--soft); }
.alert {
  max-width: none; margin: 1rem 0; padding: 0.75rem 1rem; border-left: 0.4rem solid currentColor;
  color: var(--alert); background: var(--alert-ground); font-weight: 600;
}
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: 0.4rem;
  max-width: min(48rem, 100vw - 2.5rem); }
th[colspan] { border-left: 2px solid var(--line); }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { background: var(--raised); vertical-align: bottom; text-align: left; }
tbody th { text-align: left; font-weight: 600; }
td { text-align: left; }
th.number, td.number { text-align: right; white-space: nowrap; }
table:not(.wide) :is(td, tbody th) { white-space: nowrap; }
.wide td { overflow-wrap: anywhere; min-width: 7rem; }
tr.own th, tr.own td { background: var(--raised); }
figure { margin: 1rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff; padding: 0.4rem;
  border: 1px solid var(--line); border-radius: 0.25rem; }
figcaption { color: var(--soft); font-size: 0.9rem; margin-top: 0.4rem; max-width: 48rem; }
pre {
  white-space: pre-wrap; overflow-wrap: anywhere; background: var(--raised); padding: 0.75rem;
  font: 0.85rem/1.45 ui-monospace, "SFMono-Regular", Consolas, "Liberation Mono", monospace;
}
details { margin: 0.75rem 0; }
summary { cursor: pointer; color: var(--link); }
footer { margin-top: 3rem; padding-bottom: 2rem; color: var(--soft); font-size: 0.9rem; }
@media screen and (min-width: 40rem) { caption { min-width: 32rem; } }
@media print {
  body { font-size: 9.5pt; }
  header, main, footer { max-width: none; padding: 0; }
  nav, .skip { display: none; }
  h2, h3, caption { break-after: avoid; }
  figure, tr, .alert { break-inside: avoid; }
  figure img { max-height: 22cm; width: auto; }
  .scroll { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding: 0.12rem 0.3rem; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""

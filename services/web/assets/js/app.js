// The scripts of every page. Pages are whole without them: these make them quick and live.
import "./confirm.js";
import "./head.js";
import "./live.js";
import "./lists.js";
import "./palette.js";
import "./shortcuts.js";
import "./times.js";
import "./view.js";

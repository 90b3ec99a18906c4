// Starts Swagger UI, and shows above the answers of each operation the code that sends its request.
(() => {
  "use strict";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  paint();
  dark.addEventListener("change", paint);

  const HOST = "https://your.host";

  // The tabs of an operation: one for each entry of x-codeSamples.
  const snippets = (system) => {
    const { React } = system;
    const h = React.createElement;

    function serverOf() {
      const spec = system.specSelectors.specJson().toJS();
      return (spec.servers && spec.servers[0] && spec.servers[0].url) || window.location.origin;
    }

    function tokenOf() {
      const given = system.authSelectors.authorized().toJS();
      return (given["CB-Token"] && given["CB-Token"].value) || "TOKEN";
    }

    function Snippets({ samples }) {
      const [chosen, choose] = React.useState(window.localStorage.getItem("ringbook-language") || "curl");
      const [copied, setCopied] = React.useState(false);
      const sample = samples.find((one) => one.label === chosen) || samples[0];
      const source = sample.source.replaceAll(HOST, serverOf()).replaceAll("TOKEN", tokenOf());
      const pick = (label) => {
        window.localStorage.setItem("ringbook-language", label);
        choose(label);
      };
      const copy = () => navigator.clipboard.writeText(source).then(() => {
        setCopied(true);
        window.setTimeout(() => setCopied(false), 2000);
      });
      const keys = (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const at = samples.indexOf(sample);
        const next = samples[(at + step + samples.length) % samples.length];
        pick(next.label);
        event.currentTarget.querySelectorAll("[role=tab]")[samples.indexOf(next)].focus();
      };
      return h("section", { className: "snippets", "aria-label": "Code" },
        h("div", { className: "languages" },
          h("div", { role: "tablist", "aria-label": "Language", onKeyDown: keys }, samples.map((one) => h("button", {
            key: one.label, type: "button", role: "tab", "aria-selected": one === sample,
            tabIndex: one === sample ? 0 : -1, onClick: () => pick(one.label),
          }, one.label))),
          h("button", { type: "button", className: "copy", onClick: copy }, copied ? "Copied" : "Copy")),
        h("pre", { tabIndex: 0, role: "tabpanel", "aria-label": sample.label }, h("code", null, source)));
    }

    return {
      wrapComponents: {
        responses: (Original) => function WithSnippets(props) {
          const [path, method] = [props.path, props.method];
          const found = system.specSelectors.specJson().getIn(["paths", path, method, "x-codeSamples"]);
          return h(React.Fragment, null, found && h(Snippets, { samples: found.toJS() }), h(Original, props));
        },
        // The badge of a validator at another host.
        onlineValidatorBadge: () => () => null,
      },
    };
  };

  // The search: operations whose path, method or summary contains the words.
  const search = () => ({
    fn: {
      opsFilter: (tagged, phrase) => {
        const words = phrase.toLowerCase().split(/\s+/).filter(Boolean);
        const fits = (one) => {
          const text = `${one.get("method")} ${one.get("path")} ${one.getIn(["operation", "summary"]) || ""}`.toLowerCase();
          return words.every((word) => text.includes(word));
        };
        return tagged
          .map((tag) => tag.set("operations", tag.get("operations").filter(fits)))
          .filter((tag) => tag.get("operations").size > 0);
      },
    },
  });

  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#reference",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: -1,
    displayRequestDuration: true,
    filter: true,
    persistAuthorization: true,
    tryItOutEnabled: false,
    validatorUrl: null,
    plugins: [snippets, search],
    presets: [SwaggerUIBundle.presets.apis],
    onComplete: () => {
      const field = document.querySelector(".operation-filter-input");
      if (field) {
        field.placeholder = "Search: session, POST, address book …";
        field.setAttribute("aria-label", "Search the operations");
      }
    },
  });
})();

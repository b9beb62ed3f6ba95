import { defineConfig } from "vitest/config";

/** Names that pages elsewhere and tests load; all others carry a hash. */
const ENTRIES = { index: "index.html", client: "src/client/index.ts", "job-progress": "src/element/script.ts" };

export default defineConfig({
  build: {
    outDir: "static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: ENTRIES,
      preserveEntrySignatures: "exports-only",
      output: {
        entryFileNames: ({ name }) => (name === "index" ? "assets/[name]-[hash].js" : "[name].js"),
      },
    },
  },
  // The page is at "/", or wherever a proxy puts that, and what it loads under "static/" there.
  experimental: {
    renderBuiltUrl: (file, { hostType }) => (hostType === "html" ? `static/${file}` : { relative: true }),
  },
  test: { environment: "happy-dom", include: ["tests/**/*.test.{ts,tsx}"] },
});

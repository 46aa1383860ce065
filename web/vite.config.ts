import tailwindcss from '@tailwindcss/vite'
import react from '@vitejs/plugin-react'
import { VitePWA } from 'vite-plugin-pwa'
import { defineConfig } from 'vitest/config'

const API = process.env.MILO_URL ?? 'http://127.0.0.1:8000'

export default defineConfig({
  plugins: [
    react(),
    tailwindcss(),
    VitePWA({
      injectRegister: null, // src/app/offline.ts does, from a file of its own origin
      registerType: 'autoUpdate',
      manifest: {
        name: 'Milo',
        short_name: 'Milo',
        description: 'Talk, transcribe and read aloud in Malagasy, French and English',
        start_url: '/',
        display: 'standalone',
        background_color: '#f7f7f5',
        theme_color: '#0f6b5c',
        icons: [
          { src: '/icons/icon-192.png', sizes: '192x192', type: 'image/png' },
          { src: '/icons/icon-512.png', sizes: '512x512', type: 'image/png' },
          { src: '/icons/icon.svg', sizes: 'any', type: 'image/svg+xml' },
        ],
      },
      workbox: {
        inlineWorkboxRuntime: true, // one file at the root
        sourcemap: false,
        globPatterns: ['**/*.{js,css,html,svg,png}'],
        navigateFallback: '/index.html',
        // the client's own pages only: the documentation and the API are the server's
        navigateFallbackAllowlist: [/^\/$/, /^\/(conversation|transcription|speech|admin|monitor)(\/|$)/],
      },
    }),
  ],
  build: {
    outDir: '../api/web_client',
    emptyOutDir: true,
    assetsInlineLimit: 0, // the CSP takes no data: URL for scripts or styles
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 400,
  },
  server: { proxy: { '/api': { target: API, ws: true }, '/docs': API, '/openapi.json': API } },
  test: { environment: 'node', include: ['src/**/*.test.ts'] },
})

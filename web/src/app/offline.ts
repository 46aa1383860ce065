/** The service worker keeps the client itself, so that it opens without a network. It never keeps an answer of the API. */

export function keepClient(): void {
  if (!('serviceWorker' in navigator) || import.meta.env.DEV) return
  void navigator.serviceWorker.register('/sw.js').catch(() => undefined)
}

/** A part of an older build that is no longer there: load the page of the new one, once. Not while nobody answers: the
 * browser would put a page of its own in its place. */
export function reloadForNewBuild(): void {
  addEventListener('vite:preloadError', async () => {
    const last = Number(sessionStorage.getItem('milo.reloaded') ?? 0)
    if (Date.now() - last < 10_000) return
    const answer = await fetch('/index.html', { cache: 'no-store' }).catch(() => null)
    if (!answer?.ok) return
    sessionStorage.setItem('milo.reloaded', String(Date.now()))
    location.reload()
  })
}

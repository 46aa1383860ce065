// Runs before the first paint, so that the page does not flash in the other theme.
;(function () {
  var theme = null
  try {
    theme = localStorage.getItem('milo.theme')
  } catch (error) {
    // no storage: the system's theme
  }
  if (theme !== 'dark' && theme !== 'light') {
    theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'
  }
  document.documentElement.dataset.theme = theme
})()

import { create } from 'zustand'

export type Theme = 'light' | 'dark'
const STORED = 'milo.theme'

export const useTheme = create<{ theme: Theme; toggle: () => void }>((set, state) => ({
  theme: document.documentElement.dataset.theme === 'dark' ? 'dark' : 'light',
  toggle() {
    const theme = state().theme === 'dark' ? 'light' : 'dark'
    document.documentElement.dataset.theme = theme
    try {
      localStorage.setItem(STORED, theme)
    } catch {
      // chosen for this visit only
    }
    set({ theme })
  },
}))

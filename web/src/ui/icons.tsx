/** Icons as strokes, in the colour of the text beside them. */

const PATHS = {
  conversation: 'M4 6.5A2.5 2.5 0 0 1 6.5 4h11A2.5 2.5 0 0 1 20 6.5v7a2.5 2.5 0 0 1-2.5 2.5H11l-4.5 4v-4A2.5 2.5 0 0 1 4 13.5zM8.5 10h.01M12 10h.01M15.5 10h.01',
  transcription: 'M6 3.5h8.5L19 8v12.5H6zM14 3.5V8.5h5M9 12.5h7M9 16h5',
  speech: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11',
  admin: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 4.8v4.4M9 14.8v4.4',
  monitor: 'M3.5 12.5h4l2.5-7 4 13 2.5-6h4',
  mic: 'M12 3.5a2.8 2.8 0 0 0-2.8 2.8v5.4a2.8 2.8 0 0 0 5.6 0V6.3A2.8 2.8 0 0 0 12 3.5zM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v2.5',
  stop: 'M7 7h10v10H7z',
  play: 'M8 5.5v13l10.5-6.5z',
  pause: 'M8.5 6v12M15.5 6v12',
  back: 'M14.5 5.5 8 12l6.5 6.5',
  close: 'M6 6l12 12M18 6 6 18',
  download: 'M12 4v11M7.5 11 12 15.5 16.5 11M5 19.5h14',
  upload: 'M12 16V5M7.5 9 12 4.5 16.5 9M5 19.5h14',
  retry: 'M19.5 12a7.5 7.5 0 1 1-2.4-5.5M19.5 4v4h-4',
  send: 'M4.5 12 20 4.5 15 20l-3.5-6.5z',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4',
  moon: 'M19.5 14A8 8 0 0 1 10 4.5a8 8 0 1 0 9.5 9.5z',
  more: 'M6 12h.01M12 12h.01M18 12h.01',
  exit: 'M14 4.5H6.5v15H14M10.500 12h9.500M16.500 8.500 20 12l-3.500 3.500',
  check: 'M5 12.5 10 17.5 19.500 7',
  trash: 'M5 7h14M9.500 7V4.500h5V7M7 7l.8 12.500h8.400L17 7',
  edit: 'M4.500 19.500 5.500 15 16 4.500l3.500 3.500L9 18.500zM13.500 7l3.500 3.500',
  split: 'M12 4v16M8.500 8.500 5 12l3.500 3.500M15.500 8.500 19 12l-3.500 3.500',
  merge: 'M12 4v16M4 12h5M7 9l2.500 3L7 15M20 12h-5M17 9l-2.500 3 2.500 3',
  undo: 'M8.500 5 4.500 9l4 4M4.500 9H14a5 5 0 0 1 0 10h-3',
  redo: 'M15.500 5l4 4-4 4M19.500 9H10a5 5 0 0 0 0 10h3',
} as const

export type IconName = keyof typeof PATHS

export function Icon({ name, className = 'size-5' }: { name: IconName; className?: string }) {
  return (
    <svg
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.7"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      className={className}
    >
      <path d={PATHS[name]} />
    </svg>
  )
}

/** The few parts that every screen is made of. */

import { type ButtonHTMLAttributes, type ReactNode, type SelectHTMLAttributes, useEffect, useId, useRef } from 'react'

type Look = 'primary' | 'plain' | 'quiet' | 'danger'
const LOOKS: Record<Look, string> = {
  primary: 'bg-accent text-on-accent hover:bg-accent-strong border-transparent font-medium',
  plain: 'bg-surface text-text border-line hover:border-edge',
  quiet: 'bg-transparent text-text border-transparent hover:bg-sunken',
  danger: 'bg-surface text-danger border-line hover:border-danger',
}

export function Button({
  look = 'plain',
  className = '',
  ...rest
}: { look?: Look } & ButtonHTMLAttributes<HTMLButtonElement>) {
  return (
    <button
      type="button"
      className={`inline-flex min-h-10 items-center justify-center gap-2 rounded-lg border px-3.5 py-1.5 text-[0.95rem] transition-colors disabled:opacity-55 ${LOOKS[look]} ${className}`}
      {...rest}
    />
  )
}

/** A button of an icon alone; `label` is what it does. */
export function IconButton({
  label,
  className = '',
  ...rest
}: { label: string } & ButtonHTMLAttributes<HTMLButtonElement>) {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      className={`inline-flex size-10 shrink-0 items-center justify-center rounded-lg text-text transition-colors hover:bg-sunken disabled:opacity-40 ${className}`}
      {...rest}
    />
  )
}

export const FIELD =
  'min-h-10 w-full rounded-lg border border-edge bg-surface px-3 py-1.5 text-[0.95rem] text-text placeholder:text-muted'

export function Field({ label, hint, children }: { label: string; hint?: string; children: ReactNode }) {
  return (
    <label className="block">
      <span className="mb-1 block text-sm font-medium">{label}</span>
      {children}
      {hint && <span className="mt-1 block text-sm text-muted">{hint}</span>}
    </label>
  )
}

export function Select({
  label,
  hideLabel = false,
  className = '',
  ...rest
}: { label: string; hideLabel?: boolean } & SelectHTMLAttributes<HTMLSelectElement>) {
  return (
    <label className={`block ${className}`}>
      <span className={hideLabel ? 'sr-only' : 'mb-1 block text-sm font-medium'}>{label}</span>
      <select className={FIELD} {...rest} />
    </label>
  )
}

export function Card({ children, className = '' }: { children: ReactNode; className?: string }) {
  return <section className={`rounded-xl border border-line bg-surface p-4 ${className}`}>{children}</section>
}

type Tone = 'neutral' | 'accent' | 'ok' | 'warn' | 'danger'
const TONES: Record<Tone, string> = {
  neutral: 'bg-sunken text-text',
  accent: 'bg-accent-soft text-text',
  ok: 'bg-ok-soft text-ok',
  warn: 'bg-warn-soft text-warn',
  danger: 'bg-danger-soft text-danger',
}

export function Badge({ tone = 'neutral', children }: { tone?: Tone; children: ReactNode }) {
  return (
    <span className={`inline-flex shrink-0 items-center rounded-full px-2.5 py-0.5 text-xs font-medium whitespace-nowrap ${TONES[tone]}`}>
      {children}
    </span>
  )
}

/** A notice across the page. `urgent` ones are read out at once. */
export function Notice({
  tone,
  children,
  urgent = false,
}: {
  tone: Exclude<Tone, 'neutral' | 'accent'>
  children: ReactNode
  urgent?: boolean
}) {
  return (
    <div
      role={urgent ? 'alert' : 'status'}
      className={`flex flex-wrap items-center gap-x-4 gap-y-2 rounded-lg px-3.5 py-2.5 text-[0.95rem] ${TONES[tone]}`}
    >
      {children}
    </div>
  )
}

export function Progress({ value, label }: { value: number | null; label: string }) {
  const percent = value === null ? undefined : Math.round(Math.min(1, Math.max(0, value)) * 100)
  return (
    <div
      role="progressbar"
      aria-label={label}
      aria-valuenow={percent}
      aria-valuemin={0}
      aria-valuemax={100}
      className="h-1.5 w-full overflow-hidden rounded-full bg-sunken"
    >
      <div
        className={`h-full rounded-full bg-accent ${percent === undefined ? 'w-1/4 animate-pulse' : ''}`}
        style={percent === undefined ? undefined : { width: `${percent}%` }}
      />
    </div>
  )
}

export function Loading({ label }: { label: string }) {
  return (
    <p role="status" className="animate-pulse py-10 text-center text-muted">
      {label}
    </p>
  )
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="rounded-xl border border-dashed border-line px-4 py-10 text-center">
      <p className="font-medium">{title}</p>
      {children && <div className="mx-auto mt-1 max-w-md text-muted">{children}</div>}
    </div>
  )
}

/** The browser's own dialog: it keeps the focus inside and closes with Escape. */
export function Dialog({
  open,
  onClose,
  title,
  children,
}: {
  open: boolean
  onClose: () => void
  title: string
  children: ReactNode
}) {
  const box = useRef<HTMLDialogElement>(null)
  const id = useId()
  useEffect(() => {
    const dialog = box.current
    if (!dialog) return
    if (open && !dialog.open) dialog.showModal()
    if (!open && dialog.open) dialog.close()
  }, [open])
  return (
    <dialog
      ref={box}
      aria-labelledby={id}
      onClose={onClose}
      className="w-[min(34rem,calc(100vw-2rem))] rounded-2xl border border-line bg-surface p-5"
    >
      <h2 id={id} className="mb-3 text-lg font-semibold">
        {title}
      </h2>
      {open && children}
    </dialog>
  )
}

/** The heading of a screen, with what can be done there beside it. */
export function Heading({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="mb-4 flex flex-wrap items-center justify-between gap-3">
      <h1 className="text-2xl font-semibold tracking-tight">{title}</h1>
      {children && <div className="flex flex-wrap items-center gap-2">{children}</div>}
    </div>
  )
}

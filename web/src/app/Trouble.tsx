/** What went wrong, in a sentence that a person understands, and what to do about it. */

import { useEffect, useState } from 'react'
import { ApiError } from '../api/client'
import { type TextKey, useT } from '../i18n'
import { Button, Notice } from '../ui'

const BY_CODE: Record<string, TextKey> = {
  offline: 'trouble.offline',
  no_answer: 'trouble.noAnswer',
}
const BY_STATUS: Record<number, TextKey> = {
  401: 'trouble.401',
  403: 'trouble.403',
  404: 'trouble.404',
  413: 'trouble.413',
  415: 'trouble.415',
  429: 'trouble.429',
  503: 'trouble.503',
}

/** The sentence for an error: by its code, else by its status, else that something broke. */
export function sentenceOf(error: unknown): TextKey {
  if (!(error instanceof ApiError)) return 'trouble.broken'
  return BY_CODE[error.code] ?? BY_STATUS[error.status] ?? (error.status >= 500 ? 'trouble.broken' : 'trouble.refused')
}

export function Trouble({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const t = useT()
  const problem = error instanceof ApiError ? error.problem : null
  const left = useCountdown(problem?.retryAfterS ?? 0, error)
  return (
    <Notice tone={problem && [0, 429, 503].includes(problem.status) ? 'warn' : 'danger'} urgent>
      <span className="min-w-0 grow basis-64">
        <strong className="font-semibold">{t(sentenceOf(error))}</strong>
        {problem?.detail && <span className="block break-words text-sm">{problem.detail}</span>}
      </span>
      {onRetry && (
        <Button onClick={onRetry} disabled={left > 0}>
          {left > 0 ? t('trouble.retryIn', { n: left }) : t('action.retry')}
        </Button>
      )}
    </Notice>
  )
}

function useCountdown(seconds: number, from: unknown): number {
  const [left, setLeft] = useState(seconds)
  useEffect(() => {
    setLeft(Math.ceil(seconds))
    if (seconds <= 0) return
    const timer = setInterval(() => setLeft((now) => Math.max(0, now - 1)), 1000)
    return () => clearInterval(timer)
  }, [seconds, from])
  return left
}

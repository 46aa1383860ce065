/** Requests to Milo's API: the key in a header and never in a URL, and every failure as one kind of error. */

export type Problem = {
  status: number
  code: string
  title: string
  detail: string
  retryAfterS?: number
  errors?: { detail: string; pointer?: string }[]
  /** Of an edit that came too late: what others did meanwhile. */
  since?: unknown[]
}

/** What went wrong, as the server's problem document says it; status 0: nobody answered. */
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail || problem.title)
    this.name = 'ApiError'
  }
  get status() {
    return this.problem.status
  }
  get code() {
    return this.problem.code
  }
}

let secret: string | null = null
let refused: () => void = () => undefined

/** The key of all further requests; `onRefused` is called when the server does not take it any more. */
export function setSecret(value: string | null, onRefused: () => void = () => undefined): void {
  secret = value
  refused = onRefused
}

export function currentSecret(): string | null {
  return secret
}

export type Sent = {
  method?: string
  json?: unknown
  body?: BodyInit
  headers?: Record<string, string>
  signal?: AbortSignal
  key?: string
}

/** The answer, whatever its body is. Throws `ApiError`. */
export async function send(path: string, sent: Sent = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json', ...sent.headers }
  const key = sent.key ?? secret
  if (key) headers.Authorization = `Bearer ${key}`
  let body = sent.body
  if (sent.json !== undefined) {
    headers['Content-Type'] = 'application/json'
    body = JSON.stringify(sent.json)
  }
  let answer: Response
  try {
    answer = await fetch(`/api/v1${path}`, {
      method: sent.method ?? (body === undefined ? 'GET' : 'POST'),
      headers,
      body,
      signal: sent.signal,
      cache: 'no-store',
      credentials: 'omit',
    })
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw new ApiError({ status: 0, code: navigator.onLine ? 'no_answer' : 'offline', title: '', detail: '' })
  }
  if (answer.ok) return answer
  const error = new ApiError(await problemOf(answer))
  if (error.status === 401 && sent.key === undefined) refused()
  throw error
}

export async function problemOf(answer: Response): Promise<Problem> {
  const document = (await answer.json().catch(() => ({}))) as Partial<Problem>
  const after = Number(answer.headers.get('retry-after'))
  return {
    status: answer.status,
    code: document.code ?? '',
    title: document.title ?? answer.statusText,
    detail: document.detail ?? '',
    errors: document.errors,
    since: document.since,
    ...(after > 0 ? { retryAfterS: after } : {}),
  }
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await send(path, { signal })).json() as Promise<T>
}

export async function post<T>(path: string, json: unknown = {}, more: Sent = {}): Promise<T> {
  return (await send(path, { ...more, method: 'POST', json })).json() as Promise<T>
}

export async function remove(path: string): Promise<unknown> {
  const answer = await send(path, { method: 'DELETE' })
  return answer.status === 204 ? null : answer.json()
}

/** Send a body with news of how many bytes have gone, which fetch can't tell. Returns the headers of the answer. */
export function sendPiece(
  method: 'POST' | 'PATCH' | 'HEAD',
  path: string,
  headers: Record<string, string>,
  body?: Blob,
  tell: (sent: number) => void = () => undefined,
): Promise<Headers> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open(method, `/api/v1${path}`)
    if (secret) request.setRequestHeader('Authorization', `Bearer ${secret}`)
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value)
    if (body) request.upload.onprogress = (event) => tell(event.loaded)
    request.onload = () => {
      const said = new Headers()
      for (const line of request.getAllResponseHeaders().trim().split('\r\n')) {
        const colon = line.indexOf(':')
        if (colon > 0) said.set(line.slice(0, colon), line.slice(colon + 1))
      }
      const { status } = request
      if (status >= 200 && status < 300) return resolve(said)
      if (status === 401) refused()
      const answer = new Response(request.responseText || null, { status, headers: said })
      void problemOf(answer).then((problem) => reject(new ApiError(problem)))
    }
    request.onerror = () => {
      reject(new ApiError({ status: 0, code: navigator.onLine ? 'no_answer' : 'offline', title: '', detail: '' }))
    }
    request.send(body)
  })
}

/** One conversation: its socket, which comes back by itself, the microphone, and the reply that is heard. */

import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { create } from 'zustand'
import { currentSecret, get } from '../api/client'
import { useSession } from '../app/session'
import { type Microphone, openMicrophone } from './microphone'
import { SILENCE, type ServerEvent, type Talk, after, remembered, typed, waitAfterClose } from './protocol'
import { ReplyPlayer } from './speaker'

/** How loud the microphone is, apart from the rest, which it would draw anew 50 times a second. */
export const useLevel = create(() => ({ level: 0 }))

export type Line = 'closed' | 'connecting' | 'open' | 'waiting'
export type MicrophoneState = 'off' | 'on' | 'refused' | 'lost'
export type Options = { language: string; voice: string; speak: boolean }

type Exchange = { user: string; reply: string; mode: string | null; language: string | null }

export function useConversation(options: Options) {
  const [talk, setTalk] = useState<Talk>(SILENCE)
  const [line, setLine] = useState<Line>('closed')
  const [closed, setClosed] = useState<number | null>(null)
  const [sessionId, setSessionId] = useState<string | null>(null)
  const [microphone, setMicrophone] = useState<MicrophoneState>('off')
  const [playing, setPlaying] = useState(false)
  const held = useRef({ socket: null as WebSocket | null, microphone: null as Microphone | null, connection: 0, tries: 0, gate: false })
  const session = useRef<string | null>(null)
  /** When the last utterance ended, or the last message was sent. */
  const said = useRef(0)
  const chosen = useRef(options)
  chosen.current = options

  const tell = useCallback((message: object) => {
    const { socket } = held.current
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message))
  }, [])

  const player = useMemo(
    () =>
      new ReplyPlayer({
        onFirstSound(number, at) {
          const heard_ms = Math.round(at - said.current)
          const id = `${held.current.connection}-${number}`
          setTalk((now) => ({ ...now, turns: now.turns.map((turn) => (turn.id === id ? { ...turn, heard_ms } : turn)) }))
        },
        onPlaying(now) {
          setPlaying(now)
          tell({ type: 'playback', playing: now })
        },
      }),
    [tell],
  )

  const hear = useCallback(
    (event: ServerEvent) => {
      if (event.type === 'session') {
        session.current = event.session_id
        setSessionId(event.session_id)
      } else if (event.type === 'vad') {
        if (!event.speaking) said.current = performance.now()
        player.duck(event.speaking)
      } else if (event.type === 'interrupted') {
        player.stop()
      } else if (event.type === 'reply_audio') {
        player.duck(false)
        player.add(event.turn, event.audio)
      }
      setTalk((now) => after(now, event, held.current.connection))
    },
    [player],
  )

  const connect = useCallback(() => {
    const key = currentSecret()
    if (!key || held.current.socket) return
    const { language, voice } = chosen.current
    const query = new URLSearchParams({ partials: 'true' })
    if (session.current) query.set('session_id', session.current)
    if (language) query.set('language', language)
    if (voice) query.set('voice', voice)
    const address = `${location.origin.replace(/^http/, 'ws')}/api/v1/conversation?${query}`
    // a browser can set no header on a socket; the key goes as a sub-protocol, not into the URL
    const socket = new WebSocket(address, ['milo.v1', `milo.bearer.${encodeURIComponent(key)}`])
    held.current.socket = socket
    held.current.connection += 1
    setLine('connecting')
    setClosed(null)
    socket.onopen = () => {
      held.current.tries = 0
      setLine('open')
    }
    socket.onmessage = ({ data }) => hear(JSON.parse(data as string) as ServerEvent)
    socket.onclose = ({ code }) => {
      if (held.current.socket !== socket) return // closed from here
      held.current.socket = null
      player.stop()
      setTalk((now) => ({ ...now, speaking: false }))
      setClosed(code)
      const wait = waitAfterClose(code, held.current.tries++)
      if (code === 4401) return useSession.getState().signOut(true)
      if (code === 4404) session.current = null // it was forgotten: the next one is new
      if (wait === null) return setLine('closed')
      setLine('waiting')
      setTimeout(connect, wait)
    }
  }, [hear, player])

  const hangUp = useCallback(() => {
    const { socket, microphone: open } = held.current
    held.current.socket = null
    held.current.microphone = null
    socket?.close()
    open?.stop()
    player.stop()
    setLine('closed')
    setMicrophone('off')
    useLevel.setState({ level: 0 })
  }, [player])

  useEffect(
    () => () => {
      hangUp()
      player.close()
    },
    [hangUp, player],
  )

  /** Open the line and the microphone; what is said is sent from now on. */
  const listen = useCallback(async () => {
    held.current.gate = true
    await player.wake()
    connect()
    if (held.current.microphone) return
    try {
      held.current.microphone = await openMicrophone(
        (pcm, level) => {
          const { socket, gate } = held.current
          if (gate && socket?.readyState === WebSocket.OPEN) socket.send(pcm)
          useLevel.setState({ level: gate ? level : 0 })
        },
        () => {
          held.current.microphone?.stop()
          held.current.microphone = null
          setMicrophone('lost')
          useLevel.setState({ level: 0 })
        },
      )
      setMicrophone('on')
    } catch {
      setMicrophone('refused')
    }
  }, [connect, player])

  const mute = useCallback(() => {
    held.current.microphone?.stop()
    held.current.microphone = null
    setMicrophone('off')
    useLevel.setState({ level: 0 })
    tell({ type: 'stop' })
  }, [tell])

  /** Press to talk: what is said while it is held is one utterance. The microphone stays open between. */
  const press = useCallback(() => {
    player.stop()
    void listen()
  }, [listen, player])

  const release = useCallback(() => {
    held.current.gate = false
    said.current = performance.now()
    tell({ type: 'stop' })
  }, [tell])

  const write = useCallback(
    async (text: string) => {
      await player.wake()
      player.stop()
      said.current = performance.now()
      setTalk((now) => typed(now, text, `typed-${crypto.randomUUID()}`))
      const message = { type: 'text', text, speak: chosen.current.speak }
      const { socket } = held.current
      if (socket?.readyState === WebSocket.OPEN) return tell(message)
      connect()
      held.current.socket?.addEventListener('open', () => tell(message), { once: true })
    },
    [connect, player, tell],
  )

  const interrupt = useCallback(() => {
    player.stop()
    tell({ type: 'interrupt' })
  }, [player, tell])

  /** Go on with an earlier conversation, or begin a new one. */
  const open = useCallback(
    async (id: string | null) => {
      hangUp()
      session.current = id
      setSessionId(id)
      setTalk(SILENCE)
      if (!id) return
      const document = await get<{ exchanges: Exchange[] | null }>(`/sessions/${encodeURIComponent(id)}`)
      setTalk(remembered(document.exchanges ?? []))
    },
    [hangUp],
  )

  useEffect(() => {
    tell({ type: 'config', language: options.language || null, voice: options.voice || null })
  }, [options.language, options.voice, tell])

  return { talk, line, closed, sessionId, microphone, playing, listen, mute, press, release, write, interrupt, hangUp, open }
}

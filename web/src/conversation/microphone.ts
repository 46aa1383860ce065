/** The microphone as the server takes it: int16, 16 kHz, mono. */

import { loudness } from '../transcription/loudness'
import workletUrl from './microphone.worklet.js?url'

export type Microphone = { stop: () => void }

/** Open the microphone. `onPiece` gets 20 ms at a time with its loudness; `onLost`: the system took it away. */
export async function openMicrophone(
  onPiece: (pcm: ArrayBuffer, level: number) => void,
  onLost: () => void,
): Promise<Microphone> {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  })
  const context = new AudioContext()
  try {
    await context.audioWorklet.addModule(workletUrl)
  } catch (error) {
    for (const track of stream.getTracks()) track.stop()
    void context.close()
    throw error
  }
  const node = new AudioWorkletNode(context, 'milo-microphone', { numberOfOutputs: 0 })
  node.port.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => {
    const samples = Float32Array.from(new Int16Array(data), (value) => value / 32768)
    onPiece(data, loudness(samples))
  }
  context.createMediaStreamSource(stream).connect(node)
  const track = stream.getAudioTracks()[0]
  track?.addEventListener('ended', onLost)
  track?.addEventListener('mute', onLost)
  if (context.state === 'suspended') await context.resume()
  return {
    stop() {
      node.port.onmessage = null
      track?.removeEventListener('ended', onLost)
      track?.removeEventListener('mute', onLost)
      for (const one of stream.getTracks()) one.stop()
      void context.close()
    },
  }
}

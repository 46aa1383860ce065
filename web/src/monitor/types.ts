/** The parts of /status that are shown. */
import type { Job } from '../api/types'

export type Alert = {
  name: string
  level: 'warning' | 'critical'
  field: string
  threshold: string
  means: string
  value: number | boolean | null
  active: boolean
  since: string | null
}
export type Status = {
  phase: string
  training: {
    step: number | null
    total_steps: number | null
    pct: number | null
    eta_s: number | null
    speed: number | string | null
    last_loss: number | null
    epoch: number | null
    state: string | null
    model: string | null
    run: string | null
    job: string | null
    job_state: string | null
    best: unknown
    still_s: number | null
  }
  gpu: {
    name: string | null
    gpu_util_pct: number | null
    vram_used_mb: number | null
    vram_total_mb: number | null
    temp_c: number | null
    power_w: number | null
    reason: string | null
  }
  orchestrator: boolean
  orchestrator_reason: string
  fixes: { at?: string; action?: string; detail?: string; what?: string }[]
  checkpoints: Record<string, unknown>[]
  queues: Record<string, { depth: number; oldest_s: number | null; workers: string[] }>
  jobs: Record<string, unknown>[]
  workers: { node: string; queues: string[] }[]
  models: { use: string; name: string; ok: boolean; problem: string | null }[]
  disk: { free_bytes: number; total_bytes: number; needed_bytes: number }
  beat_age_s: number | null
  version: string
  updated_at: string
  alerts: Alert[]
}
export type Row = { step?: number; time?: number } & Record<string, unknown>
export type TrainingJob = Job & {
  run: { id: string; summary: Record<string, unknown>; alerts: Record<string, unknown>[] } | null
}

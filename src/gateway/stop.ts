import type { Clock } from '../lib/clock.ts'
import { Fault } from '../lib/fault.ts'
import type { Gateway } from './gateway.ts'
import type { Serving } from './serve.ts'

export interface StopSettings {
  readonly stopNoticeMs: number
  readonly stopStreamsMs: number
}

/**
 * Stops without losing anything: first others are told (`/readyz`) while calls are still accepted; then nobody new comes in, and
 * whoever stands in line is sent away; streams may finish; the rest is ended properly. When this resolves every call is settled.
 */
export async function stopServing(serving: Serving, gateway: Gateway, closing: AbortController, settings: StopSettings): Promise<void> {
  const { clock, drain, log, live } = gateway
  log.info({ running: serving.calls.count }, 'stopping: calls are still accepted for a moment')
  serving.closeConnections()
  await sleep(settings.stopNoticeMs, clock)

  const closed = serving.close()
  log.info({ running: serving.calls.count, drains: drain.count }, 'stopping: no more calls are accepted')
  const finished = Promise.all([serving.calls.idle(), drain.idle()])
  const forLatecomersMs = Math.min(onTheirWayMs, settings.stopStreamsMs / 2)
  await Promise.race([finished, sleep(forLatecomersMs, clock)])
  closing.abort(new Fault('stopping'))
  await Promise.race([finished, sleep(settings.stopStreamsMs - forLatecomersMs, clock)])

  if (live.size > 0) log.warn({ cut: live.size }, 'stopping: what still runs is ended')
  for (const attempt of live.all()) attempt.abort()
  await Promise.race([serving.calls.idle(), sleep(lastBytesMs, clock)])
  serving.closeAllConnections()
  await serving.calls.idle()
  await drain.close()
  await closed
}

/** Who came in just before the doors closed is still on the way to a slot. Whoever has none after so long stands in line for it. */
const onTheirWayMs = 1000

/** For the last bytes of what was just ended to leave; who does not read them by then never will. */
const lastBytesMs = 2000

function sleep(ms: number, clock: Clock): Promise<void> {
  return new Promise(resolve => void clock.after(ms, resolve))
}

import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { type Answer, usedBy } from './answer.ts'
import type { Charge, Ended, OpenLine } from './invoice.ts'
import { type Shown, tokensShown } from './output.ts'
import { type End, type Hold, isBroken, type Script } from './script.ts'
import { nothingUsed } from './usage.ts'
import type { Gate } from './watch.ts'

/** One answer while it is being given, over whatever connection. */
export interface Play {
  readonly script: Script
  readonly line: OpenLine
  readonly charge: Charge
  readonly gate: (name: string) => Gate
  /** Aborted when the client leaves, or the whole upstream is closed. */
  readonly left: AbortSignal
  /** What of the answer the client was shown, and whether it was shown any event of a response, or any byte of its JSON. */
  readonly shown: Shown
  begun: boolean
  /** Takes the response as it ended, before the client hears of the end. */
  keep?: (response: Record<string, unknown>) => void
}

/** One request over HTTP while it is being answered. */
export interface Run extends Play {
  readonly res: ServerResponse
  readonly requestId: string
  bytesSent: number
  /** The answer has ended, in whatever way the script wants: a client that leaves now has not left early. */
  over: boolean
}

/** Waits, unless the client leaves: then it throws, and so do all others here. */
export async function pause({ left }: Play, ms: number | undefined): Promise<void> {
  if (ms !== undefined && ms > 0) await delay(ms, undefined, { signal: left })
}

/** Waits at the gates of the script that stand here; the first event is event 0. */
export async function passHolds(run: Play, here: 'headers' | number): Promise<void> {
  for (const { gate, at = 'headers' } of holdsOf(run.script)) {
    if ((at === 'firstEvent' ? 0 : at) === here) await run.gate(gate).pass(run.left)
  }
}

export function holdsOf({ hold }: Script): readonly Hold[] {
  if (hold === undefined) return []
  return typeof hold === 'string' ? [{ gate: hold }] : 'gate' in hold ? [hold] : hold
}

/** Before each event, the first being event 0. */
export async function pace(play: Play, sequence: number): Promise<void> {
  await pause(play, sequence === 0 ? play.script.firstEventAfterMs : play.script.betweenEventsMs)
  await passHolds(play, sequence)
}

/** The headers, after what the script wants to happen before them. False when they never come, because the call has ended. */
export async function sendHead(run: Run, status: number, headers: Readonly<Record<string, string | number>>): Promise<boolean> {
  const { script, res, line } = run
  await pause(run, script.headersAfterMs)
  await passHolds(run, 'headers')
  if (script.noHeaders === true && script.end !== undefined && isBroken(script.end)) {
    await breakOff(run, script.end)
    return false
  }
  line.status = status
  res.statusCode = status
  for (const [name, value] of Object.entries({ ...headers, 'x-request-id': run.requestId, 'openai-version': '2020-10-01' })) {
    res.setHeader(name, value)
  }
  for (const [name, value] of Object.entries(script.headers ?? {})) res.setHeader(name, typeof value === 'string' ? value : [...value])
  res.flushHeaders()
  return true
}

/** Sends bytes of the body, as fast as they are read. `bytesMax` is of the whole body; false when it was reached. */
export async function put(run: Run, text: string | Buffer, bytesMax = Number.POSITIVE_INFINITY): Promise<boolean> {
  const whole = typeof text === 'string' ? Buffer.from(text) : text
  const bytes = whole.subarray(0, Math.max(0, bytesMax - run.bytesSent))
  const step = Math.max(1, run.script.chunkBytes ?? bytes.length)
  for (let from = 0; from < bytes.length; from += step) {
    run.left.throwIfAborted()
    run.line.answered = true
    const chunk = bytes.subarray(from, from + step)
    run.bytesSent += chunk.length
    if (!run.res.write(chunk)) await once(run.res, 'drain', { signal: run.left })
  }
  return bytes.length === whole.length
}

/** An end that is no end of an answer. What has been sent leaves first, as far as the network takes it. */
export async function breakOff(run: Run, end: End): Promise<void> {
  run.line.ended = end
  run.line.cut = true
  await new Promise(setImmediate)
  run.left.throwIfAborted()
  if (end === 'stall') return await once(run.res, 'close').then(() => {})
  run.over = true
  const { socket } = run.res
  if (end === 'eof') run.res.headersSent ? run.res.end() : socket?.end()
  else if (end === 'reset') socket?.resetAndDestroy()
  else socket?.destroy()
}

/**
 * Charges what had been made when an answer broke off. An answer costs from its first event on: then the whole input, and
 * the output shown so far. JSON is made before its first byte.
 */
export function chargeShown(play: Play, answer: Answer, ended: Ended): void {
  const { line } = play
  const made = line.stream ? tokensShown(answer.output, play.shown) : answer.output
  play.charge(line, play.begun ? usedBy(answer.used.inputTokens, answer.script, made) : nothingUsed)
  line.ended = ended
  line.cut = true
}

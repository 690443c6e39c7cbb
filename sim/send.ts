import { type Answer, type FinalStatus, finalStatus, finishedItem, responseObject } from './answer.ts'
import type { Refusal } from './asked.ts'
import { doneMarker, frame } from './events.ts'
import type { Ended } from './invoice.ts'
import { plannedEnd, playAnswer, type Stage } from './play.ts'
import { breakOff, chargeShown, passHolds, pause, put, type Run, sendHead } from './run.ts'
import { isBroken } from './script.ts'
import { nothingUsed, reportUsage, type TokenUsage } from './usage.ts'

/** Sends the answer as events. Throws when the client leaves. */
export async function sendStream(run: Run, answer: Answer): Promise<void> {
  const { script } = run
  if (!(await sendStreamHead(run))) return
  const bytesMax = isBroken(plannedEnd(script, 0).end) ? script.afterBytes : undefined
  const stage: Stage = {
    show: (event, sequence) => put(run, frame(event, sequence, script), bytesMax),
    breakOff: end => breakOff(run, end),
  }
  if ((await playAnswer(run, answer, stage)) === 'broken') return
  if (script.doneMarker === true) await put(run, doneMarker(script))
  await endStream(run)
}

/** As `sendHead`. */
export function sendStreamHead(run: Run): Promise<boolean> {
  const headers = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' }
  return sendHead(run, run.script.status ?? 200, headers)
}

/** The end of a stream that is whole. */
export async function endStream(run: Run): Promise<void> {
  run.over = true
  await pause(run, run.script.linger)
  run.res.end()
}

/** Sends the answer as one JSON body. Throws when the client leaves. */
export async function sendJson(run: Run, answer: Answer): Promise<void> {
  const status = finalStatus(answer)
  const items = status === 'failed' ? [] : answer.output.parts.map(finishedItem)
  const { wire, charged } = reportUsage(answer.used, answer.script.usage)
  const body = responseObject(answer, { status, items, usage: wire, webSearches: charged.webSearches })
  const settle = () => {
    run.charge(run.line, charged)
    run.line.usageReported = wire !== undefined
    run.line.ended = status
    run.keep?.(body)
  }
  await sendBody(run, { status: run.script.status ?? 200, body: JSON.stringify(body), settle, breakOff: () => breakOffAnswer(run, answer) })
}

async function breakOffAnswer(run: Run, answer: Answer): Promise<void> {
  const end = run.script.end ?? 'cut'
  chargeShown(run, answer, end)
  await breakOff(run, end)
}

export interface Bill {
  readonly charged: TokenUsage
  /** Whether the value says so. */
  readonly isReported: boolean
  /** How it ends when nothing comes between. Default `completed`. */
  readonly ended?: FinalStatus
}

/** Sends a value that costs something, whole at once. Throws when the client leaves. */
export async function sendBilled(run: Run, value: object, { charged, isReported, ended = 'completed' }: Bill): Promise<void> {
  const { line, script } = run
  const settle = () => {
    run.charge(line, charged)
    Object.assign(line, { usageReported: isReported, ended })
  }
  const cut = (by: Ended) => {
    run.charge(line, run.begun ? charged : nothingUsed)
    Object.assign(line, { ended: by, cut: true })
  }
  const breakOffValue = async () => {
    const end = script.end ?? 'cut'
    cut(end)
    await breakOff(run, end)
  }
  try {
    await sendBody(run, { status: script.status ?? 200, body: JSON.stringify(value), settle, breakOff: breakOffValue })
  } finally {
    if (line.ended === 'running') cut('left')
  }
}

/** Sends an error, or the script's raw body, in place of an answer. */
export async function sendInstead(run: Run, refusal: Refusal, rawBody?: string): Promise<void> {
  const ended: Ended = refusal.status < 300 && rawBody !== undefined ? 'raw' : 'refused'
  const settle = () => {
    run.line.ended = ended
  }
  await sendBody(run, { status: refusal.status, body: rawBody ?? JSON.stringify({ error: refusal.error }), settle })
}

export interface Body {
  readonly status: number
  readonly body: string
  /** Called before the body's last byte. */
  readonly settle?: () => void
  readonly breakOff?: () => Promise<void>
}

/** Sends one body, or as much of it as the script wants. Throws when the client leaves. */
export async function sendBody(run: Run, { status, body, settle, breakOff: breakOffBody }: Body): Promise<void> {
  const { script, res } = run
  const bytes = Buffer.from(body)
  const isBreaking = isBroken(script.end ?? 'completed')
  const contentType = script.rawBody?.startsWith('<') === true ? 'text/html' : 'application/json'
  // Without a promised length a clean end can come early, and each chunk stays one on the wire.
  const isChunked = script.end === 'eof' || script.chunkBytes !== undefined
  const length = isChunked ? {} : { 'content-length': bytes.length }
  if (!(await sendHead(run, status, { 'content-type': contentType, ...length }))) return
  await pause(run, script.firstEventAfterMs)
  await passHolds(run, 0)
  if (isBreaking) {
    const bytesMax = Math.min(script.afterBytes ?? bytes.length >> 1, bytes.length - 1) // With all of it nothing would be broken.
    run.begun = bytesMax > 0
    await put(run, bytes, bytesMax)
    return await (breakOffBody?.() ?? breakOff(run, script.end ?? 'cut'))
  }
  run.begun = true
  await put(run, bytes.subarray(0, -1))
  run.left.throwIfAborted()
  settle?.()
  run.line.answered = bytes.length > 0
  run.over = true
  res.end(bytes.subarray(-1))
}

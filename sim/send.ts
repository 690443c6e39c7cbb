import { type Answer, finalStatus, finishedItem, type Item, responseObject, usedBy } from './answer.ts'
import { doneMarker, draftEvents, errorEvent, frame, terminalEvent } from './events.ts'
import type { Ended } from './invoice.ts'
import { tokensShown } from './output.ts'
import { breakOff, chargeShown, passHolds, pause, put, type Run, sendHead } from './run.ts'
import { type End, type ErrorBody, isBroken } from './script.ts'
import { reportUsage } from './usage.ts'

/** Sends the answer as events. Throws when the client leaves. */
export async function sendStream(run: Run, answer: Answer): Promise<void> {
  const { script } = run
  const drafts = draftEvents(answer)
  const end = script.errorFirst === true ? 'error' : (script.end ?? 'completed')
  const endAt =
    script.errorFirst === true ? 0 : end === 'completed' ? drafts.length : Math.min(script.afterEvents ?? drafts.length, drafts.length)
  const bytesMax = isBroken(end) ? script.afterBytes : undefined
  if (!(await sendHead(run, script.status ?? 200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })))
    return

  const items: Item[] = []
  for (const [sequence, draft] of drafts.slice(0, endAt).entries()) {
    await pace(run, sequence)
    run.begun = true
    if (!(await put(run, frame({ type: draft.type, ...draft.fields }, sequence, script), bytesMax)))
      return await breakOffAnswer(run, answer)
    Object.assign(run.shown, draft.shown)
    if (draft.item !== undefined) items.push(draft.item)
  }
  await pace(run, endAt)
  await endStream(run, answer, { end, sequence: endAt, items, isEarly: endAt < drafts.length })
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
    run.line.ended = status === 'in_progress' ? 'completed' : status
  }
  await sendBody(run, { status: run.script.status ?? 200, body: JSON.stringify(body), settle, breakOff: () => breakOffAnswer(run, answer) })
}

/** Sends an error, or the script's raw body, in place of an answer. */
export async function sendInstead(run: Run, refusal: { status: number; error: ErrorBody }, rawBody: string | undefined): Promise<void> {
  const ended: Ended = refusal.status < 300 && rawBody !== undefined ? 'raw' : 'refused'
  const settle = () => {
    run.line.ended = ended
  }
  const breakOffBody = () => breakOff(run, run.script.end ?? 'cut')
  await sendBody(run, { status: refusal.status, body: rawBody ?? JSON.stringify({ error: refusal.error }), settle, breakOff: breakOffBody })
}

interface Body {
  readonly status: number
  readonly body: string
  /** Called before the body's last byte. */
  readonly settle: () => void
  readonly breakOff: () => Promise<void>
}

async function sendBody(run: Run, { status, body, settle, breakOff }: Body): Promise<void> {
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
    return await breakOff()
  }
  run.begun = true
  await put(run, bytes.subarray(0, -1))
  run.left.throwIfAborted()
  settle()
  run.line.answered = bytes.length > 0
  run.over = true
  res.end(bytes.subarray(-1))
}

interface StreamEnd {
  readonly end: End
  readonly sequence: number
  /** Those that were finished. */
  readonly items: readonly Item[]
  /** Before all of the answer was shown. */
  readonly isEarly: boolean
}

async function endStream(run: Run, answer: Answer, ending: StreamEnd): Promise<void> {
  const { script } = run
  if (isBroken(ending.end)) return await breakOffAnswer(run, answer)
  if (ending.end === 'error') {
    chargeShown(run, answer, 'error')
    await put(run, frame(errorEvent(script), ending.sequence, script))
  } else {
    await put(run, frame(endingEvent(run, answer, ending), ending.sequence, script))
  }
  if (script.doneMarker === true) await put(run, doneMarker(script))
  run.over = true
  await pause(run, script.linger)
  run.res.end()
}

/** The terminal event; what it reports is charged before it leaves. */
function endingEvent(run: Run, answer: Answer, { end, items, isEarly }: StreamEnd): { type: string } {
  const status = isEarly ? (end === 'failed' || end === 'cancelled' ? end : 'incomplete') : finalStatus(answer)
  const made = isEarly ? usedBy(answer.used.inputTokens, answer.script, tokensShown(answer.output, run.shown)) : answer.used
  const { wire, charged } = reportUsage(made, answer.script.usage)
  const isReported = run.begun && wire !== undefined
  if (run.begun) run.charge(run.line, charged)
  run.line.usageReported = isReported
  run.line.ended = status === 'in_progress' ? 'completed' : status
  const shownItems = status === 'failed' ? [] : items
  return terminalEvent(answer, {
    status,
    items: shownItems,
    usage: run.begun ? wire : null,
    webSearches: run.begun ? charged.webSearches : 0,
  })
}

async function breakOffAnswer(run: Run, answer: Answer): Promise<void> {
  const end = run.script.end ?? 'cut'
  chargeShown(run, answer, end)
  await breakOff(run, end)
}

async function pace(run: Run, sequence: number): Promise<void> {
  await pause(run, sequence === 0 ? run.script.firstEventAfterMs : run.script.betweenEventsMs)
  await passHolds(run, sequence)
}

import { type Answer, usedBy } from './answer.ts'
import { type Asked, askedOrRefusal, type Refusal } from './asked.ts'
import { makeOrRefuse } from './create.ts'
import { newLine } from './invoice.ts'
import { type Connection, type Create, endConnection, sendError } from './lanes.ts'
import type { Output } from './output.ts'
import type { Parts } from './parts.ts'
import { type Event, playAnswer, type Stage } from './play.ts'
import { contextTokensOf } from './remember.ts'
import { chargeShown, type Play, passHolds, pause } from './run.ts'
import { type End, isBroken } from './script.ts'
import { type Steering, settleSteering, withWaiting } from './steer.ts'

/** A response while it is being given over a WebSocket. */
export interface Speaking {
  readonly made: Answer
  readonly streamId: string | undefined
  readonly fields: Readonly<Record<string, unknown>>
  /** What its client said meanwhile, accepted and not yet committed. */
  readonly steering: Steering[]
  /** Sends an event under the next number. */
  tell(event: Event): Promise<void>
}

/** Gives the response to one create, and those to what steered it. Never throws. */
export async function respond(connection: Connection, create: Create, parts: Parts): Promise<void> {
  let next: Create | undefined = { ...create, fields: withWaiting(connection, create.fields) }
  const { ws } = connection
  while (next !== undefined && !connection.isOver && ws.readyState === ws.OPEN) next = await respondOnce(connection, next, parts)
}

/** Resolves with the create of its successor. */
async function respondOnce(connection: Connection, create: Create, parts: Parts): Promise<Create | undefined> {
  const { fields } = create
  const read = askedOrRefusal(fields, parts.countTokens)
  const isReadable = 'model' in read
  const script = isReadable ? parts.scripts.next(connection.key, read.model, 'responses') : {}
  const line = newLine(connection.key, isReadable ? read.model : '', true, 'websocket')
  parts.bill(line)
  const leaving = new AbortController()
  const play: Play = {
    script,
    line,
    charge: parts.charge,
    gate: parts.gates,
    left: leaving.signal,
    shown: { part: 0, chars: 0 },
    begun: false,
  }
  parts.running.add(leaving)
  connection.underWay.set(leaving, play)
  let made: Answer | undefined
  try {
    await pause(play, script.headersAfterMs)
    await passHolds(play, 'headers')
    leaving.signal.throwIfAborted()
    if (script.noHeaders === true && script.end !== undefined && isBroken(script.end)) {
      Object.assign(line, { ended: script.end, cut: true })
      return void (await breakOff(connection, play, script.end, parts))
    }
    const found: Answer | Refusal = isReadable ? makeFor(connection, read, play, parts) : read
    if ('error' in found) return refuse(connection, create, found, play)
    made = found
    return await speak(connection, { create, made, play }, parts)
  } catch (error) {
    if (!leaving.signal.aborted) throw error
    const ended = connection.isOver ? 'cut' : 'left'
    if (line.ended !== 'running') return
    if (made === undefined) Object.assign(line, { ended, cut: true })
    else chargeShown(play, made, ended)
  } finally {
    connection.underWay.delete(leaving)
    parts.running.delete(leaving)
    parts.watch.changed()
  }
}

/** The answer to a create; to a warm-up, one that says nothing. */
function makeFor(connection: Connection, read: Asked, play: Play, parts: Parts): Answer | Refusal {
  const { generate: _, stream: __, background: ___, ...fields } = read.fields
  const asked: Asked = { ...read, stream: true, background: false, fields }
  const call = { key: connection.key, asked, suffix: parts.nextSuffix(), remembered: (id: string) => connection.remembered.get(id) }
  const made = makeOrRefuse(play, call, parts)
  if ('error' in made || read.fields.generate !== false) return made
  return { ...made, output: silence, used: usedBy(made.used.inputTokens, play.script, silence) }
}

const silence: Output = { parts: [], isWhole: true, tokens: 0, reasoningTokens: 0, webSearches: 0, countTokens: 'by share' }

function refuse(connection: Connection, { streamId }: Create, found: Refusal, { line, script }: Play): undefined {
  Object.assign(line, { status: found.status, ended: script.rawBody === undefined ? 'refused' : 'raw', answered: true })
  if (script.rawBody !== undefined) connection.ws.send(script.rawBody)
  else sendError(connection, found, { ...(streamId !== undefined && { streamId }), ...(script.headers && { headers: script.headers }) })
}

interface Speech {
  readonly create: Create
  readonly made: Answer
  readonly play: Play
}

async function speak(connection: Connection, { create, made, play }: Speech, parts: Parts): Promise<Create | undefined> {
  const { streamId } = create
  const steering: Steering[] = []
  let sequence = 0
  const tell = async ({ type, ...fields }: Event) => {
    const lane = streamId === undefined ? {} : { stream_id: streamId }
    Object.assign(play.line, { status: 200, answered: true })
    await send(connection, JSON.stringify({ type, sequence_number: sequence++, ...fields, ...lane }))
  }
  const stage: Stage = {
    async show(event) {
      play.left.throwIfAborted()
      await tell(event)
      return true
    },
    breakOff: end => breakOff(connection, play, end, parts),
    isSteered: () => steering.length > 0,
  }
  const { keep } = play
  let final: Record<string, unknown> | undefined
  play.keep = response => {
    final = response
    keep?.(response)
    const tokens = contextTokensOf(response, made)
    if (tokens !== undefined) connection.remembered.set(made.id, tokens)
  }
  const speaking: Speaking = { made, streamId, fields: create.fields, steering, tell }
  connection.speaking.set(made.id, speaking)
  try {
    if ((await playAnswer(play, made, stage)) === 'broken') return undefined
  } finally {
    connection.speaking.set(made.id, undefined)
  }
  return await settleSteering(connection, speaking, final)
}

/** Resolves when it has left, as fast as it is read; rejects when the socket is closed, after those who wait for that have heard of it. */
function send({ ws }: Connection, text: string): Promise<void> {
  return new Promise((resolve, reject) =>
    ws.send(text, error => {
      if (!error) resolve()
      else if (ws.readyState === ws.CLOSED) reject(error)
      else ws.once('close', () => reject(error))
    }),
  )
}

async function breakOff(connection: Connection, play: Play, end: End, { watch }: Parts): Promise<void> {
  if (end === 'stall') {
    await watch.when(() => play.left.aborted)
    return play.left.throwIfAborted()
  }
  endConnection(connection, end)
}

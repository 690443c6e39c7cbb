import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { makeAnswer } from './answer.ts'
import { type Asked, type CountTokens, countByBytes, readAsked, refusal } from './asked.ts'
import { csvOf, openBill } from './bill.ts'
import { defaultError } from './errors.ts'
import { makeFast, openFastAnswers, sendFast } from './fast.ts'
import { type Charge, type InvoiceLine, newLine, type OpenLine, priceList, type SimPrice } from './invoice.ts'
import { openMemory } from './memory.ts'
import { chargeShown, type Run } from './run.ts'
import { isBroken, openScriptBook, type Script, type ScriptTarget } from './script.ts'
import { sendInstead, sendJson, sendStream } from './send.ts'
import { type Gate, newGate, openWatch } from './watch.ts'

/** A scripted upstream: a stand-in for the OpenAI API on a real socket. */
export interface Sim extends AsyncDisposable {
  /** Without a slash at the end: `http://127.0.0.1:49152`. */
  readonly url: string
  readonly port: number
  /** One line per call to `/v1/responses` that was read whole, in the order of arrival. */
  readonly invoice: readonly InvoiceLine[]
  /** Every request but `/healthz` and `/invoice`, in the order in which their bodies were read. */
  readonly attempts: readonly Attempt[]
  script(target: ScriptTarget, script: Script | readonly Script[]): void
  gate(name: string): Gate
  /** The same as `gate(name).open()`. */
  open(name: string): void
  /** Resolves when so many requests, or one of which this holds, are among the attempts: with the last of them, or with that one. */
  seen(what: number | ((attempt: Attempt) => boolean)): Promise<Attempt>
  /** Resolves when so many clients have left before the upstream had ended its answer. */
  gone(count: number): Promise<void>
  /** Resolves when no call is being answered: the invoice is final then. */
  idle(): Promise<void>
  /** Empties invoice and attempts, and forgets who was gone. */
  reset(): void
  close(): Promise<void>
}

export interface SimOptions {
  /** Default 0: any free one. */
  readonly port?: number
  /** Default 127.0.0.1. */
  readonly host?: string
  /** By the name of the model served, else asked. */
  readonly prices?: Readonly<Record<string, SimPrice>>
  /** What `GET /v1/models` lists. Default: the priced ones. */
  readonly models?: readonly string[]
  /** Default: bytes / 4, rounded up. */
  readonly countTokens?: CountTokens
  /** By which the days of `GET /invoice` are told. Default: the machine's clock. */
  readonly nowMs?: () => number
  /** False keeps neither invoice lines nor attempts, for runs of millions of calls; `GET /invoice` has its sums all the same. Default true. */
  readonly record?: boolean
}

/** A request as it came. */
export interface Attempt {
  readonly key: string
  /** With its query string. */
  readonly path: string
  readonly method: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** The exact bytes. */
  readonly body: Buffer
  /** False when the connection broke before the body's end. */
  readonly isWhole: boolean
  /** When its headers were read, by `performance.now()`. */
  readonly atMs: number
}

/** Throws what `listen` says when the port is taken, and a sentence for a price that cannot be read. */
export async function openSim(options: SimOptions = {}): Promise<Sim> {
  const parts = newParts(options)
  const server = createServer(
    { keepAliveTimeout: keepAliveTimeoutMs, requestTimeout: 0, noDelay: true },
    (req, res) => void receive(req, res, parts),
  )
  server.listen(options.port ?? 0, options.host ?? '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const { attempts, lines, watch, scripts, gates } = parts
  const close = () => closeServer(server, parts)
  return {
    url: `http://${options.host ?? '127.0.0.1'}:${port}`,
    port,
    invoice: lines,
    attempts,
    script: scripts.set,
    gate: gates,
    open: name => gates(name).open(),
    seen: what => watch.until(() => (typeof what === 'number' ? attempts[what - 1] : attempts.find(what))),
    gone: count => watch.when(() => parts.gone >= count),
    idle: () => watch.when(() => parts.running.size === 0),
    reset() {
      attempts.length = 0
      lines.length = 0
      parts.gone = 0
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** Longer than any client keeps an idle connection: that a reused one is just being closed shall be scripted, not chance. */
const keepAliveTimeoutMs = 600_000

type Parts = ReturnType<typeof newParts>

function newParts(options: SimOptions) {
  const watch = openWatch()
  const gates = new Map<string, Gate>()
  const charge: Charge = priceList(options.prices ?? {})
  const lines: OpenLine[] = []
  const attempts: Attempt[] = []
  return {
    watch,
    charge,
    lines,
    attempts,
    models: options.models ?? Object.keys(options.prices ?? {}),
    countTokens: options.countTokens ?? countByBytes,
    record: options.record ?? true,
    scripts: openScriptBook(),
    memory: openMemory(),
    bill: openBill(),
    nowMs: options.nowMs ?? Date.now,
    fast: openFastAnswers(),
    nextSuffix: countedSuffixes(),
    /** One for each call that is being answered. */
    running: new Set<AbortController>(),
    gone: 0,
    isClosing: false,
    gates(name: string): Gate {
      let gate = gates.get(name)
      if (gate === undefined) gates.set(name, (gate = newGate(watch)))
      return gate
    },
  }
}

/** Unique, and always of the same length: 32 characters. */
function countedSuffixes(): () => string {
  const start = randomBytes(8).toString('hex')
  let count = 0
  return () => start + (count++).toString(16).padStart(16, '0')
}

async function receive(req: IncomingMessage, res: ServerResponse, parts: Parts): Promise<void> {
  const path = req.url ?? '/'
  const method = req.method ?? 'GET'
  if (path === '/healthz') return void res.end('ok')
  const [route, query] = path.split('?', 2)
  if (route === '/invoice') return sendInvoice(res, method, new URLSearchParams(query).get('format') ?? 'json', parts)
  const atMs = performance.now()
  const key = keyOf(req)
  const { body, isWhole } = await readBody(req)
  if (parts.record) {
    parts.attempts.push({ key, path, method, headers: req.headers, body, isWhole, atMs })
    parts.watch.changed()
  }
  if (!isWhole) return
  if (method === 'POST' && (route === '/v1/responses' || route === '/responses')) return await answerCall({ key, body, res }, parts)
  if (method === 'GET' && (route === '/v1/models' || route === '/models')) return sendValue(res, 200, modelList(parts.models))
  sendValue(res, 404, { error: refusal(404, `Invalid URL (${method} ${route})`).error })
}

function keyOf({ headers }: IncomingMessage): string {
  const bearer = /^Bearer (.*)$/i.exec(headers.authorization ?? '')?.[1]
  const apiKey = headers['api-key']
  return bearer ?? (typeof apiKey === 'string' ? apiKey : '')
}

function readBody(req: IncomingMessage): Promise<{ body: Buffer; isWhole: boolean }> {
  return new Promise(resolve => {
    const chunks: Buffer[] = []
    const end = (isWhole: boolean) => resolve({ body: chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks), isWhole })
    req.on('data', (chunk: Buffer) => void chunks.push(chunk))
    req.once('end', () => end(true))
    req.on('error', () => end(false))
    req.once('close', () => end(false))
  })
}

function sendValue(res: ServerResponse, status: number, value: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

function modelList(models: readonly string[]): object {
  return { object: 'list', data: models.map(id => ({ id, object: 'model', created: 1_760_000_000, owned_by: 'system' })) }
}

/** The upstream's own figures, by day, key and model: `?format=csv` for a file. */
function sendInvoice(res: ServerResponse, method: string, format: string, { bill }: Parts): void {
  if (method !== 'GET') return sendValue(res, 405, { error: refusal(405, `Not allowed to ${method} on /invoice`).error })
  if (format === 'json') return sendValue(res, 200, { object: 'invoice', data: bill.rows() })
  if (format === 'csv') return void res.writeHead(200, { 'content-type': 'text/csv; charset=utf-8' }).end(csvOf(bill.rows()))
  sendValue(res, 400, { error: refusal(400, `format is "${format}"; it takes json or csv`).error })
}

interface Call {
  readonly key: string
  readonly body: Buffer
  readonly res: ServerResponse
}

async function answerCall({ key, body, res }: Call, parts: Parts): Promise<void> {
  const arrivedMs = parts.nowMs()
  const asked = readAsked(body, parts.countTokens)
  const isReadable = 'model' in asked
  const script: Script = isReadable ? parts.scripts.next(key, asked.model) : {}
  const line = isReadable ? newLine(key, asked.model, asked.stream) : newLine(key, '', false)
  if (parts.record) parts.lines.push(line)
  const suffix = parts.nextSuffix()
  const requestId = `req_${suffix}`
  line.requestId = requestId
  const leaving = new AbortController()
  const run: Run = {
    script,
    res,
    line,
    charge: parts.charge,
    gate: parts.gates,
    left: leaving.signal,
    requestId,
    shown: { part: 0, chars: 0 },
    begun: false,
    bytesSent: 0,
    over: false,
  }
  parts.running.add(leaving)
  heedLeaving(run, leaving, parts)
  try {
    if (isReadable) await perform(run, { key, asked, suffix }, parts)
    else await sendInstead(run, asked, undefined)
  } catch (error) {
    if (!leaving.signal.aborted) throw error // Nothing is expected here but that the client left.
    if (line.ended === 'running') Object.assign(line, { ended: 'left', cut: true })
  } finally {
    parts.running.delete(leaving)
    parts.bill.add(line, arrivedMs)
    parts.watch.changed()
  }
}

/** Made once: an error with its stack costs more than the rest of a fast answer. */
const departed = new Error('the connection was closed')

function heedLeaving(run: Run, leaving: AbortController, parts: Parts): void {
  const closed = () => {
    if (!run.over && !parts.isClosing) {
      run.line.clientLeft = true
      parts.gone += 1
    }
    if (parts.running.has(leaving)) leaving.abort(departed)
    parts.watch.changed()
  }
  run.res.on('error', () => {}) // A write that came too late; the closing of the connection says the same.
  if (run.res.destroyed) closed()
  else run.res.once('close', closed)
}

interface Performance {
  readonly key: string
  readonly asked: Asked
  readonly suffix: string
}

/** Does what the script says with a call that could be read. Throws when the client leaves, after the line was charged. */
async function perform(run: Run, { key, asked, suffix }: Performance, parts: Parts): Promise<void> {
  const { script, line } = run
  const { countTokens } = parts
  if (script.fast === true) {
    const make = () =>
      makeFast(makeAnswer({ ...asked, maxOutputTokens: undefined }, script, { suffix, contextTokens: 0, countTokens }), suffix)
    return await sendFast(run, parts.fast.find(script, `${asked.model}\n${asked.serviceTier}\n${asked.stream}`, make), suffix)
  }
  const status = script.status ?? 200
  if (status >= 300 || script.rawBody !== undefined || script.error !== undefined) {
    return await sendInstead(run, { status, error: { ...defaultError(status, asked.model), ...script.error } }, script.rawBody)
  }
  const previous = asked.previousResponseId
  const contextTokens = previous === undefined ? 0 : parts.memory.find(key, previous)
  if (contextTokens === undefined) {
    const message = `Previous response with id '${previous}' not found.`
    return await sendInstead(run, refusal(400, message, 'previous_response_not_found', 'previous_response_id'), undefined)
  }
  const answer = makeAnswer(asked, script, { suffix, contextTokens, countTokens })
  line.modelServed = answer.model
  line.tier = answer.tier
  line.responseId = answer.id
  const { end = 'completed' } = script
  if (asked.store && !isBroken(end) && end !== 'failed' && end !== 'error') {
    parts.memory.keep(key, answer.id, answer.used.inputTokens + answer.output.tokens)
  }
  try {
    await (asked.stream ? sendStream(run, answer) : sendJson(run, answer))
  } finally {
    if (line.ended === 'running') chargeShown(run, answer, 'left')
  }
}

async function closeServer(server: Server, parts: Parts): Promise<void> {
  if (!server.listening) return
  parts.isClosing = true
  const closed = once(server, 'close')
  server.close()
  for (const leaving of parts.running) leaving.abort(departed)
  parts.watch.close()
  server.closeAllConnections()
  await closed
}

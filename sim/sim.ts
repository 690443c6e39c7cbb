import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { CountTokens } from './asked.ts'
import type { InvoiceLine, SimPrice } from './invoice.ts'
import { departed, newParts, type Parts, type SocketLimits } from './parts.ts'
import { receive } from './receive.ts'
import type { Script, ScriptTarget } from './script.ts'
import type { Gate } from './watch.ts'
import { openSockets } from './websocket.ts'

/** A scripted upstream: a stand-in for the OpenAI API on a real socket. */
export interface Sim extends AsyncDisposable {
  /** Without a slash at the end: `http://127.0.0.1:49152`. */
  readonly url: string
  readonly port: number
  /** One line for each answer that costs something and whose request was read whole, in the order of arrival. */
  readonly invoice: readonly InvoiceLine[]
  /** Every request but `/healthz` and `/invoice`, in the order in which their bodies were read; and every message over a WebSocket. */
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
  /** Of each key; encrypted content is bound to it. Default: all belong to the same. */
  readonly organisations?: Readonly<Record<string, string>>
  /** False: an upgrade is answered 426. Else what one socket may do, by default what OpenAI allows: 60 minutes, 16 in flight, 32 lanes. */
  readonly websocket?: false | Partial<SocketLimits>
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
  /** `MESSAGE` for one over a WebSocket. */
  readonly method: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** The exact bytes. */
  readonly body: Buffer
  /** False when the connection broke before the body's end. */
  readonly isWhole: boolean
  /** When its headers were read, by `performance.now()`. */
  readonly atMs: number
  /** When its answer had ended, or nobody was there for it any more; undefined while it runs. Not of messages over a WebSocket. */
  readonly endedMs?: number | undefined
}

/** Throws what `listen` says when the port is taken, and a sentence for a price that cannot be read. */
export async function openSim(options: SimOptions = {}): Promise<Sim> {
  const parts = newParts(options)
  const server = createServer(
    { keepAliveTimeout: keepAliveTimeoutMs, requestTimeout: 0, noDelay: true },
    (req, res) => void receive(req, res, parts),
  )
  const sockets = openSockets(server, parts)
  server.listen(options.port ?? 0, options.host ?? '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const { attempts, lines, watch, scripts, gates } = parts
  const close = () => closeServer(server, sockets, parts)
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

async function closeServer(server: Server, sockets: { close(): void }, parts: Parts): Promise<void> {
  if (!server.listening) return
  parts.isClosing = true
  const closed = once(server, 'close')
  server.close()
  for (const leaving of parts.running) leaving.abort(departed)
  parts.watch.close()
  sockets.close()
  server.closeAllConnections()
  await closed
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Settings } from './config/settings.ts'
import type { Coordinator, LinesNow } from './coordination/coordinator.ts'
import { openOwners } from './directory/owners.ts'
import { openSeal, readSecretKey } from './directory/seal.ts'
import { checkSecretKey } from './directory/secret-check.ts'
import { shareDirectory } from './directory/shared.ts'
import { openDirectory } from './directory/snapshot.ts'
import { openEnds } from './ends.ts'
import { openEngine } from './engines.ts'
import { AtOnce } from './gateway/at-once.ts'
import { openBackground } from './gateway/background.ts'
import { BodyBudget } from './gateway/body.ts'
import type { CallEnd } from './gateway/books.ts'
import { openBrake } from './gateway/brake.ts'
import { openDrain } from './gateway/drain.ts'
import type { Gateway } from './gateway/gateway.ts'
import { keepLease } from './gateway/lease.ts'
import { openServer, type Serving } from './gateway/serve.ts'
import { stopServing } from './gateway/stop.ts'
import { type InFlight, openInFlight } from './in-flight.ts'
import { openLedger } from './ledger/ledger.ts'
import type { Owed } from './ledger/owed.ts'
import { blockListOf } from './lib/address.ts'
import { type Clock, systemClock } from './lib/clock.ts'
import { newId } from './lib/id.ts'
import type { Log } from './lib/log.ts'
import { openMetrics } from './lib/metrics.ts'
import { Roster } from './lib/roster.ts'
import { type Nodes, openNodes } from './nodes.ts'
import { openTokenCounter, type TokenCounterOptions } from './protocols/count-in-worker.ts'
import { openCallReader } from './protocols/read-in-worker.ts'
import { type Database, statement } from './storage/database.ts'
import { lockFolder } from './storage/lock.ts'
import { openEgress } from './upstreams/egress.ts'
import { openOwnUsage } from './usage/own.ts'
import { openPending } from './usage/pending.ts'
import { openRecorder } from './usage/refusals.ts'
import { openRetention } from './usage/retention.ts'

/** A gateway that serves. */
export interface Headgate {
  /** http://host:port, where it really listens. */
  readonly url: string
  readonly gateway: Gateway
  readonly serving: Serving
  /** Stops as SPEC section 3 says; resolves when everything is settled and closed. */
  stop(): Promise<void>
}

/** The control plane, which this file knows only as something that answers requests and wants to know the parts. */
export type OpenAdmin = (parts: AdminNeeds) => (request: IncomingMessage, response: ServerResponse) => void

export interface AdminNeeds {
  readonly database: Database
  readonly gateway: Gateway
  readonly seal: ReturnType<typeof openSeal>
  readonly nodes: Nodes
}

/** What is done to the books before anybody reads them, and what tests put in another one's place. */
export interface Adapters {
  readonly prepareBooks?: (database: Database, clock: Clock, log: Log) => Promise<void>
  readonly clock?: Clock
  readonly chance?: () => number
  readonly wrapDatabase?: (database: Database) => Database
  /** Every hold is asked of the books, as where several share them. */
  readonly holdsInBooks?: boolean
  readonly wrapJournal?: (journal: Owed<CallEnd>) => Owed<CallEnd>
  readonly startCountWorker?: NonNullable<TokenCounterOptions['startWorker']>
  readonly wrapCoordinator?: (coordinator: Watched) => Watched
}

type Watched = Coordinator & { linesNow(): LinesNow }

/** Opens the adapters, builds the Gateway record, and listens. Rejects with a sentence for the operator. */
export async function openHeadgate(settings: Settings, log: Log, openAdmin: OpenAdmin, adapters: Adapters = {}): Promise<Headgate> {
  await using scope = new AsyncDisposableStack()
  const closing = new AbortController()
  const opened = await openParts(settings, log, adapters, scope)
  const { database, sharedTime, inFlight, seal, parts } = opened
  const gateway: Gateway = {
    ...parts,
    closing: closing.signal,
    drain: openDrain(settings, parts.clock, () => gateway),
    background: openBackground(settings, parts.clock, () => gateway),
  }
  let isStopping = false
  const nodes = openNodes(gateway, { running: () => serving.calls.count, waiting: () => inFlight.coordinator.linesNow().callersWaiting })
  const notReady = () => reasonsNotReady(database, gateway, isStopping)
  const troubles = () => (inFlight.isAlone() ? [aloneSaid(inFlight)] : [])
  const inLine = () => {
    const { callersWaiting, accountsWaiting } = inFlight.coordinator.linesNow()
    return callersWaiting + accountsWaiting
  }
  const admin = openAdmin({ database, gateway, seal, nodes })
  const serving = openServer(gateway, { admin, notReady, troubles, inLine }, settings)
  scope.use(await keepLease(gateway, settings, { about: nodes.about, isAlone: sharedTime === undefined }))
  scope.defer(() => gateway.background.close())
  scope.use(openRetention({ database, ...parts }, settings))
  watch(gateway, inFlight, serving)
  const url = await listen(serving, settings.listen, log)
  const rest = scope.move()
  return {
    url,
    gateway,
    serving,
    async stop() {
      isStopping = true
      await stopServing(serving, gateway, closing, settings)
      await rest.disposeAsync()
    },
  }
}

/** Everything that has to be closed again, in the order in which the parts need each other. */
async function openParts(settings: Settings, log: Log, adapters: Adapters, scope: AsyncDisposableStack) {
  const { clock = systemClock, chance = Math.random } = adapters
  scope.use(await lockFolder(settings.data))
  const { database: opened, sharedTime, slips } = await openEngine(settings)
  scope.defer(() => opened.close())
  const metrics = openMetrics()
  const { database, atHand, purses, books } = await openEnds(
    settings,
    {
      ...{ clock, log, metrics, wrapJournal: adapters.wrapJournal },
      database: adapters.wrapDatabase?.(opened) ?? opened,
      slips: adapters.holdsInBooks ? undefined : slips,
    },
    scope,
  )
  await adapters.prepareBooks?.(database, clock, log)
  const seal = openSeal(readSecretKey({ secretKeyText: settings.secretKey, folder: settings.data }))
  const leaseId = newId(clock.nowMs())
  const inFlight = scope.use(await openInFlight({ settings, leaseId, clock, log, metrics }))
  const coordinator = adapters.wrapCoordinator?.(inFlight.coordinator) ?? inFlight.coordinator
  const directory = await openDirectory(database, seal, clock, { unknownKeyMs: settings.unknownKeyMs })
  await checkSecretKey(database, seal) // Only now: a key by which no account opens must not become that of the books.
  const egress = openEgress(settings, clock)
  scope.defer(() => egress.close())
  const reader = openCallReader()
  scope.defer(() => reader.close())
  const { startCountWorker: startWorker } = adapters
  const counter = openTokenCounter({ clock, estimateWithinMs: settings.estimateWithinMs, ...(startWorker && { startWorker }) })
  scope.defer(() => counter.close())
  const parts: Omit<Gateway, 'background' | 'closing' | 'drain'> = {
    settings,
    clock,
    chance,
    directory: scope.use(shareDirectory(directory, coordinator, clock)),
    owners: openOwners(database),
    coordinator,
    ledger: openLedger(database, clock, { leaseTime: sharedTime, spending: atHand?.spending }),
    atHand,
    purses,
    books,
    ownUsage: openOwnUsage(database),
    pending: openPending(database),
    recorder: scope.use(openRecorder(database, clock)),
    egress,
    bodies: new BodyBudget(settings.bodiesBytesMax),
    brake: openBrake(settings.refusalsPerMinute, clock),
    reader,
    counter,
    keptAtOnce: new AtOnce(settings.keptAtOnceMax),
    live: new Roster(),
    metrics,
    log,
    trustedProxies: settings.trustedProxies.length === 0 ? undefined : blockListOf(settings.trustedProxies),
    leaseId,
  }
  return { database, sharedTime, inFlight, seal, parts }
}

function watch(gateway: Gateway, { coordinator, isAlone, nodes }: InFlight, serving: Serving): void {
  const { metrics, background, drain, bodies, books, atHand } = gateway
  metrics.watch({
    sockets: () => serving.sockets.count,
    callsUnread: () => serving.calls.unread,
    callsRunning: () => coordinator.linesNow().callersRunning,
    callsWaiting: () => coordinator.linesNow().callersWaiting,
    accountsTaken: () => coordinator.linesNow().accountsTaken,
    accountsWaiting: () => coordinator.linesNow().accountsWaiting,
    drains: () => drain.count,
    background: () => background.count,
    bodyBytes: () => bodies.takenBytes,
    owed: () => books.owed,
    unwritten: () => books.unwritten,
    unposted: () => atHand?.unposted ?? 0,
    alone: () => (isAlone() ? 1 : 0),
    nodes,
  })
}

/** What is wrong, though calls may be sent here all the same. */
function aloneSaid({ nodes }: InFlight): string {
  return `Redis is silent: this gateway goes on with its share of every limit, one of ${nodes()}`
}

async function reasonsNotReady(database: Database, { books, clock, settings }: Gateway, isStopping: boolean): Promise<readonly string[]> {
  const reasons: string[] = []
  if (isStopping) reasons.push('stopping')
  if (books.unwritten > 0) reasons.push(`${books.unwritten} charges are in memory only: neither books nor journal take them`)
  const answers = await new Promise<boolean>(resolve => {
    const timer = clock.after(settings.settleWithinMs, () => resolve(false))
    database
      .read(nothing)
      .then(
        () => resolve(true),
        () => resolve(false),
      )
      .finally(() => timer[Symbol.dispose]())
  })
  if (!answers) reasons.push('the books do not answer')
  return reasons
}

const nothing = statement('select 1 as one')

function listen({ server }: Serving, { host, port }: Settings['listen'], log: Log): Promise<string> {
  return new Promise((resolve, reject) => {
    const refuse = (error: NodeJS.ErrnoException) => {
      const inUse = error.code === 'EADDRINUSE'
      reject(
        inUse
          ? new Error(`${host}:${port} is in use by another program; say another address with --listen, such as 127.0.0.1:8081.`)
          : error,
      )
    }
    server.once('error', refuse)
    server.listen(port, host, () => {
      server.off('error', refuse)
      server.on('error', error => log.error({ err: error }, 'the listening socket failed'))
      const { port: found } = server.address() as AddressInfo
      resolve(`http://${host.includes(':') ? `[${host}]` : host}:${found}`)
    })
  })
}

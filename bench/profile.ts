import { mkdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import { shown, tableOf } from './figures.ts'

/** Of one thread, as the inspector gives it and as DevTools opens it (`.cpuprofile`). */
export interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: Frame }[]
  readonly samples: readonly number[]
  /** Microseconds from each sample to the next. */
  readonly timeDeltas: readonly number[]
}

interface Frame {
  readonly functionName: string
  readonly url: string
  readonly lineNumber: number
}

export interface ThreadProfile {
  readonly thread: string
  readonly profile: CpuProfile
}

const samplingMicros = 500
const linesMost = 40

/** Begins to sample all threads of a program that was started with `--inspect=127.0.0.1:<port>`. Call what it returns to end it. */
export async function startProfiling(port: number): Promise<() => Promise<readonly ThreadProfile[]>> {
  const inspector = await openInspector(port)
  const threads = await inspector.threads()
  for (const { ask } of threads) {
    await ask('Profiler.enable')
    await ask('Profiler.setSamplingInterval', { interval: samplingMicros })
    await ask('Profiler.start')
  }
  return async () => {
    const profiles: ThreadProfile[] = []
    for (const { name, ask } of threads) profiles.push({ thread: name, profile: (await ask('Profiler.stop')).profile as CpuProfile })
    inspector.close()
    return profiles
  }
}

type Ask = (method: string, params?: object) => Promise<Readonly<Record<string, unknown>>>

interface Inspector {
  /** The main thread, and every worker that runs now. */
  threads(): Promise<{ readonly name: string; readonly ask: Ask }[]>
  close(): void
}

interface Message {
  readonly id?: number
  readonly result?: Readonly<Record<string, unknown>>
  readonly error?: { readonly message: string }
  readonly method?: string
  readonly params?: {
    readonly sessionId: string
    readonly message?: string
    readonly workerInfo?: { readonly url: string }
  }
}

/** The DevTools protocol of a Node program; workers are spoken to through the main thread, by its domain NodeWorker. */
async function openInspector(port: number): Promise<Inspector> {
  const [target] = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as { webSocketDebuggerUrl: string }[]
  const socket = new WebSocket(target!.webSocketDebuggerUrl, { maxPayload: 0 })
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  const waiting = new Map<number, PromiseWithResolvers<Readonly<Record<string, unknown>>>>()
  const workers: { readonly name: string; readonly ask: Ask }[] = []
  let asked = 0
  const askBy =
    (send: (text: string) => void): Ask =>
    (method, params = {}) => {
      const id = (asked += 1)
      const answer = Promise.withResolvers<Readonly<Record<string, unknown>>>()
      waiting.set(id, answer)
      send(JSON.stringify({ id, method, params }))
      return answer.promise
    }
  const main = askBy(text => socket.send(text))
  const hear = ({ id, result, error, method, params }: Message): void => {
    if (method === 'NodeWorker.receivedMessageFromWorker') hear(JSON.parse(params!.message!))
    if (method === 'NodeWorker.attachedToWorker') {
      const { sessionId, workerInfo } = params!
      const ask = askBy(message => void main('NodeWorker.sendMessageToWorker', { sessionId, message }))
      workers.push({ name: `${workerInfo!.url.split('/').at(-1)} ${sessionId}`, ask })
    }
    if (id === undefined) return
    const answer = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) answer?.resolve(result ?? {})
    else answer?.reject(new Error(`the inspector: ${error.message}`))
  }
  socket.on('message', text => hear(JSON.parse(String(text))))
  return {
    async threads() {
      await main('NodeWorker.enable', { waitForDebuggerOnStart: false })
      return [{ name: 'main', ask: main }, ...workers]
    },
    close: () => socket.close(),
  }
}

/** Writes each profile beside the others, and returns for each thread the functions that ran longest. */
export function reportProfiles(profiles: readonly ThreadProfile[], folder: string, calls: number): string {
  mkdirSync(folder, { recursive: true })
  const tables = profiles.map(({ thread, profile }) => {
    const file = join(folder, `${thread.replaceAll(/[^a-z0-9.-]+/gi, '-')}.cpuprofile`)
    writeFileSync(file, JSON.stringify(profile))
    return `${thread} (${relative('.', file)}), ${calls.toLocaleString('en')} calls\n${tableOfProfile(profile, calls)}`
  })
  return tables.join('\n\n')
}

/** By the function that was running: its own time, without that of what it called, and without the time in which nothing ran. */
export function tableOfProfile({ nodes, samples, timeDeltas }: CpuProfile, calls: number): string {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const micros = new Map<string, number>()
  for (const [index, id] of samples.entries()) {
    const name = frames.get(id)!
    micros.set(name, (micros.get(name) ?? 0) + timeDeltas[index]!)
  }
  micros.delete('(idle)')
  const all = [...micros.values()].reduce((sum, one) => sum + one, 0)
  const longest = [...micros].toSorted(([, one], [, other]) => other - one).slice(0, linesMost)
  return tableOf(
    ['µs a call', 'of all', 'function'],
    [['all', all] as const, ...longest].map(([name, took]) => [shown(took / calls), `${((took / all) * 100).toFixed(1)} %`, name]),
  )
}

function nameOf({ functionName, url, lineNumber }: Frame): string {
  if (url === '') return functionName
  const file = url.startsWith('file:') ? relative('.', fileURLToPath(url)).replace(/^.*(?=node_modules)/, '') : url
  return `${functionName || '(anonymous)'} ${file}:${lineNumber + 1}`
}

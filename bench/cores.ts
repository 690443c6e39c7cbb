import { execFileSync, spawnSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'

/** The gateway has a core for itself and all its threads; whoever loads it, and the upstream, have the other. */
export const gatewayCore = 0
export const loadCore = 1

/** Puts this program on the core of the load. Throws a sentence where nothing can be pinned. */
export function pinMyself(): void {
  if (availableParallelism() < 2) throw new Error('one core is too few: the gateway needs one of its own, beside the load.')
  if (spawnSync('taskset', ['--version']).status !== 0)
    throw new Error('taskset is not there, which pins programs to a core; "apt-get install util-linux" brings it.')
  pin(process.pid, loadCore)
}

/** All threads that a program has now, and those that they will make. */
export function pin(pid: number, core: number): void {
  execFileSync('taskset', ['-a', '-c', '-p', String(core), String(pid)], { stdio: 'ignore' })
}

/** The words before a command that start it on a core. */
export function pinned(core: number): readonly string[] {
  return ['taskset', '-c', String(core)]
}

/** The CPU time of whole programs so far, all threads, in microseconds. A thread that has ended is not counted: none ends while it is measured. */
export function cpuMicros(pids: readonly number[]): number {
  return threadsOf(pids).reduce((sum, { micros }) => sum + micros, 0)
}

export interface Thread {
  readonly name: string
  readonly micros: number
}

/** By the scheduler's own account (`sched`, nanoseconds), which is finer than the ticks of `stat`, where the kernel tells it. */
export function threadsOf(pids: readonly number[]): Thread[] {
  return pids.flatMap(pid => globSync(`/proc/${pid}/task/*`).map(threadAt))
}

const ticksPerSecond = 100

function threadAt(folder: string): Thread {
  const stat = readFileSync(`${folder}/stat`, 'utf8')
  const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'))
  const exact = /^se\.sum_exec_runtime\s*:\s*([\d.]+)/m.exec(schedOf(folder))?.[1]
  if (exact !== undefined) return { name, micros: Number(exact) * 1000 }
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
  return { name, micros: ((Number(user) + Number(system)) * 1_000_000) / ticksPerSecond }
}

function schedOf(folder: string): string {
  try {
    return readFileSync(`${folder}/sched`, 'utf8')
  } catch {
    return '' // Not every kernel is built to tell.
  }
}

/** Resident memory of all these together, in MiB. */
export function memoryMiB(pids: readonly number[]): number {
  const kib = pids.map(pid => Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0))
  return kib.reduce((sum, one) => sum + one, 0) / 1024
}

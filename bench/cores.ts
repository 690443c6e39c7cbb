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

/** One thread, and the CPU time that it has used so far, in microseconds. */
export interface Thread {
  readonly isMain: boolean
  readonly micros: number
}

/** All threads of these programs. By the scheduler's own account (`sched`, nanoseconds), which is finer than the ticks of `stat`, where the kernel tells it. */
export function threadsOf(pids: readonly number[]): Thread[] {
  return pids.flatMap(pid =>
    globSync(`/proc/${pid}/task/*`).map(folder => ({ isMain: folder.endsWith(`/${pid}`), micros: microsAt(folder) })),
  )
}

const ticksPerSecond = 100

function microsAt(folder: string): number {
  const exact = /^se\.sum_exec_runtime\s*:\s*([\d.]+)/m.exec(textOf(`${folder}/sched`))?.[1]
  if (exact !== undefined) return Number(exact) * 1000
  const stat = textOf(`${folder}/stat`)
  if (stat === '') return 0
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
  return ((Number(user) + Number(system)) * 1_000_000) / ticksPerSecond
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // The thread has ended, or the kernel is not built to tell.
  }
}

/** Resident memory of all these together, in MiB. */
export function memoryMiB(pids: readonly number[]): number {
  const kib = pids.map(pid => Number(/^VmRSS:\s*(\d+)/m.exec(textOf(`/proc/${pid}/status`))?.[1] ?? 0))
  return kib.reduce((sum, one) => sum + one, 0) / 1024
}

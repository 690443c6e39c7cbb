import { globSync, readFileSync } from 'node:fs'
import { basename, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { shown, tableOf } from './figures.ts'

/** Where a thread spent its time, by the file of the function that was running: its own, without what it called. */
interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: Frame }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

interface Frame {
  readonly functionName: string
  readonly url: string
  readonly lineNumber: number
}

const linesMost = 40

/** One table for each profile in the folder: the functions that ran longest, without the time that nothing ran. */
export function profileTables(folder: string): string[] {
  return globSync('*.cpuprofile', { cwd: folder }).map(name => {
    const profile: CpuProfile = JSON.parse(readFileSync(`${folder}/${name}`, 'utf8'))
    return `${basename(name)}\n${tableOfProfile(profile)}`
  })
}

export function tableOfProfile({ nodes, samples, timeDeltas }: CpuProfile): string {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const micros = new Map<string, number>()
  for (const [index, id] of samples.entries()) {
    const name = frames.get(id)!
    micros.set(name, (micros.get(name) ?? 0) + timeDeltas[index]!)
  }
  for (const resting of ['(idle)', '(root)']) micros.delete(resting)
  const all = [...micros.values()].reduce((sum, one) => sum + one, 0)
  const longest = [...micros].toSorted(([, one], [, other]) => other - one).slice(0, linesMost)
  return tableOf(
    ['self ms', 'of all', 'function'],
    longest.map(([name, took]) => [shown(took / 1000), `${((took / all) * 100).toFixed(1)} %`, name]),
  )
}

function nameOf({ functionName, url, lineNumber }: Frame): string {
  if (url === '') return functionName
  const file = url.startsWith('file:') ? relative('.', fileURLToPath(url)).replace(/^.*(?=node_modules)/, '') : url
  return `${functionName || '(anonymous)'} ${file}:${lineNumber + 1}`
}

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { cpus, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { pinMyself } from './cores.ts'
import { fileSystemOf } from './disk.ts'
import { percentile, shown } from './figures.ts'
import { reportProfiles } from './profile.ts'
import { resultTable, targetTable } from './report.ts'
import { type Plan, type Results, runRounds } from './rounds.ts'
import { scenarios } from './scenarios.ts'
import { direct, relay } from './subjects/bare.ts'
import { headgate } from './subjects/headgate.ts'
import { many } from './subjects/many.ts'
import { nginx } from './subjects/nginx.ts'
import { portkey } from './subjects/portkey.ts'
import type { Subject } from './subjects/subject.ts'

/** Headgate beside what else stands between a client and an upstream, in one run. README.md beside this file says how to read it. */
const subjects: readonly Subject[] = [direct, nginx, relay, headgate, many, portkey]
const resultsFolder = join(import.meta.dirname, 'results')

const { values: said } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    rounds: { type: 'string', default: '5' },
    quick: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    folder: { type: 'string', default: tmpdir() },
  },
})
try {
  await run()
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}

async function run(): Promise<void> {
  pinMyself()
  const fileSystem = fileSystemOf(said.folder)
  const chosen = choose(said.only === '' ? [] : said.only.split(','))
  for (const { name, missing } of chosen.subjects) if (missing !== undefined) console.log(`Without ${name}: ${missing}.`)
  const present = chosen.subjects.filter(({ missing }) => missing === undefined)
  const rounds = said.quick ? 1 : Number(said.rounds)
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds is ${said.rounds}; it takes a whole number from 1`)
  const folder = mkdtempSync(join(said.folder, 'headgate-bench-'))
  const progress = (line: string) => void process.stderr.write(`${new Date().toTimeString().slice(0, 8)}  ${line}\n`)
  try {
    const plan: Plan = { subjects: present, scenarios: chosen.scenarios, rounds, folder, profiled: said.profile, progress }
    print(plan, await runRounds(plan), fileSystem)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Names of subjects and scenarios, in any order; of which kind none is named, all are meant. `json` is every scenario that begins so. */
function choose(names: readonly string[]): Pick<Plan, 'subjects' | 'scenarios'> {
  const isMeant = ({ name }: { readonly name: string }) => names.some(one => name === one || name.replace(/\d+$/, '') === one)
  for (const name of names) {
    if ([...subjects, ...scenarios].some(one => one.name === name || one.name.replace(/\d+$/, '') === name)) continue
    const all = [...subjects, ...scenarios].map(one => one.name).join(', ')
    throw new Error(`--only names ${name}, which is neither a subject nor a scenario; there are ${all}`)
  }
  const some = { subjects: subjects.filter(isMeant), scenarios: scenarios.filter(isMeant) }
  return {
    subjects: some.subjects.length === 0 ? subjects : some.subjects,
    scenarios: some.scenarios.length === 0 ? scenarios : some.scenarios,
  }
}

function print({ subjects, scenarios, rounds }: Plan, results: Results, fileSystem: string): void {
  for (const { subject, calls, threads } of results.profiles)
    console.log(`${reportProfiles(threads, join(resultsFolder, 'profiles', subject), calls)}\n`)
  const { commitsMs, loads, audits } = results
  console.log(`${cpus().length} cores of ${cpus()[0]?.model}, Linux ${release()}, Node ${process.version}, ${fileSystem}`)
  console.log(
    `load average ${shown(Math.min(...loads))} to ${shown(Math.max(...loads))} as the rounds began; ${rounds} rounds, everybody in turn`,
  )
  console.log(`one synced commit alone: p50 ${shown(percentile(commitsMs, 50))} ms, p99 ${shown(percentile(commitsMs, 99))} ms\n`)
  for (const { name, about } of subjects) console.log(`${name}: ${about}`)
  console.log(`\n${resultTable(results, subjects, scenarios)}\n`)
  console.log(`${targetTable(results)}\n\n${audits.join('\n')}`)
  mkdirSync(resultsFolder, { recursive: true })
}

import type { Caller } from '../load/request.ts'

/** Something that stands between clients and the upstream, and is measured. */
export interface Subject {
  readonly name: string
  /** What it is, for whoever reads the table. */
  readonly about: string
  /** Why it cannot be had here, in a sentence; undefined when it can. */
  readonly missing?: string
  /** It settles every call, durably, before the answer ends. */
  readonly keepsBooks?: boolean
  /** It is no contender, and takes part only when it is asked for by name. */
  readonly onlyNamed?: boolean
  /** Why it is left out where answers are streamed, in a sentence. */
  readonly noStreams?: string
  /** Starts it on the gateway's core, in front of the upstream at that port. Resolves when it takes calls. */
  readonly start: (ground: Ground) => Promise<Running>
}

export interface Ground {
  readonly upstreamPort: number
  /** A folder of its own, on a disk. */
  readonly folder: string
  /** Whether programs of ours are to be open to an inspector, which asks where their time goes. */
  readonly profiled: boolean
  /** Whether Headgate runs as it stands in the source tree: without a build, and with its own lines in a profile. */
  readonly fromSource: boolean
}

export interface Running extends AsyncDisposable {
  readonly port: number
  /** Of the whole gateway, not of the servers behind it. */
  readonly pids: () => readonly number[]
  readonly callers: readonly Caller[]
  /** Where its inspector listens, when it is profiled. */
  readonly inspector?: number
  /** It says the same in other bytes than the upstream. */
  readonly rewrites?: boolean
  /** Stops it in order and looks into its books. Throws when they do not hold so many calls, each with its charge. */
  readonly audit?: (calls: number) => Promise<string>
}

import { Component, type ReactNode } from 'react'
import { Trouble } from './Trouble'

/** A screen that breaks leaves the others standing. */
export class ErrorBoundary extends Component<{ children: ReactNode }, { error: unknown }> {
  state = { error: null as unknown }

  static getDerivedStateFromError(error: unknown) {
    return { error }
  }

  render() {
    if (this.state.error === null) return this.props.children
    return <Trouble error={this.state.error} onRetry={() => location.reload()} />
  }
}

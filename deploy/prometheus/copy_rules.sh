#!/usr/bin/env bash
# Writes the rules anew into the places that need them in another form: the object of the Prometheus
# Operator, and the chart, where Helm must not take Prometheus's templates for its own. A test checks
# that the copies are what this writes. With a folder as argument they are written there.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
to="${1:-$here/..}"

object() {
    printf '# The groups of deploy/prometheus/rules.yaml, by deploy/prometheus/copy_rules.sh.\n'
    printf 'apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: quittance\nspec:\n'
    sed -n '/^groups:/,$p' "$here/rules.yaml" | sed 's/^\(.\)/  \1/'
}

component="$to/kubernetes/components/prometheus-operator"
chart="$to/helm/quittance/templates"
mkdir -p "$component" "$chart"
object >"$component/prometheus-rule.yaml"
{
    printf '{{- if .Values.prometheusOperator.enabled }}\n'
    object | sed 's/{{/\x01/g; s/}}/{{ "}}" }}/g; s/\x01/{{ "{{" }}/g'
    printf '{{- end }}\n'
} >"$chart/prometheus-rule.yaml"

using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace LongCtx.Server;

/// <summary>
/// Metrics and traces to an OpenTelemetry collector, by OTLP over HTTP: LongCtx's own meters, requests as ASP.NET traces them, and Orleans where there is a cluster. What is left is sent when it is
/// disposed of.
/// </summary>
internal sealed class TelemetryExport : IDisposable
{
    readonly MeterProvider _metrics;
    readonly TracerProvider _traces;

    TelemetryExport(MeterProvider metrics, TracerProvider traces) => (_metrics, _traces) = (metrics, traces);

    /// <summary>Null without a collector.</summary>
    /// <param name="collector">Its address, for instance http://127.0.0.1:4318.</param>
    public static TelemetryExport? Start(Uri? collector)
    {
        if (collector is null) return null;
        AppContext.SetSwitch("Microsoft.AspNetCore.Hosting.SuppressActivityOpenTelemetryData", isEnabled: false); // spans with method, path and status
        void Describe(ResourceBuilder resource) => resource.AddService("longctx", serviceVersion: ServerProcess.Version, serviceInstanceId: $"{Environment.MachineName}/{Environment.ProcessId}");
        MeterProvider metrics = Sdk.CreateMeterProviderBuilder().ConfigureResource(Describe)
            .AddMeter("LongCtx*", "Microsoft.Orleans", "Microsoft.AspNetCore.Hosting", "System.Runtime", "Polly")
            .AddOtlpExporter(o => Address(o, "v1/metrics")).Build();
        TracerProvider traces = Sdk.CreateTracerProviderBuilder().ConfigureResource(Describe)
            .AddSource("Microsoft.AspNetCore", "Microsoft.Orleans.*")
            .AddOtlpExporter(o => Address(o, "v1/traces")).Build();
        return new(metrics, traces);

        void Address(OtlpExporterOptions options, string path) => (options.Endpoint, options.Protocol) = (new(collector, path), OtlpExportProtocol.HttpProtobuf);
    }

    public void Dispose()
    {
        _traces.Dispose();
        _metrics.Dispose();
    }
}

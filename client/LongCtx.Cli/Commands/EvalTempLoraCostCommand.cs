using System.CommandLine;
using LongCtx.Cli.Evaluation;
using LongCtx.Cli.Options;
using LongCtx.Engine.Models;

namespace LongCtx.Cli.Commands;

/// <summary>One setting; GFLOP for each token.</summary>
/// <param name="RecomputingGflop">Keys computed anew for each chunk.</param>
/// <param name="ReusingGflop">Keys kept until the window is full.</param>
/// <param name="TrainingGflop">4 P for a token and epoch.</param>
/// <param name="TrainingEngineGflop">What the engine does of that: it leaves out what no gradient needs.</param>
/// <param name="TrainingAllGradientsGflop">6 P for a token and epoch.</param>
/// <param name="TrainingOnceGflop">6 P for a token, in one epoch: nearest to the paper's own figures.</param>
internal sealed record TempLoraCostRow(int Window, int Chunk, double RecomputingGflop, double ReusingGflop, double TrainingGflop, double TrainingEngineGflop, double TrainingAllGradientsGflop, double TrainingOnceGflop);

internal sealed record TempLoraCostReport(double Parameters, double AdapterParameters, int Prefix, int Kept, int Epochs, IReadOnlyList<TempLoraCostRow> Rows);

internal static class EvalTempLoraCostCommand
{
    public static Command Create(Terminal terminal)
    {
        Option<string> model = Common.Model();
        var config = new Option<string?>("--config") { Description = "A Hugging Face config.json instead of a model: the weights are not needed.", HelpName = "F" };
        Option<int[]?> windows = Value.IntList("--windows", "Windows W, in tokens. Unset: the trained length and its halves and multiples.", 1 << 24);
        Option<int[]?> chunks = Value.IntList("--chunks", "Chunks D, in tokens. Unset: a quarter and half of the smallest window.", 1 << 24);
        Option<int?> prefix = Value.OptionalInt("--prefix", "Tokens before a chunk while it is learned. Unset: the smallest chunk.", 0, 1 << 24);
        Option<int> rank = Value.Int("--rank", "Of adapters on all projections; 0 counts none.", 0, 256, 0);
        Option<int> epochs = Value.Int("--epochs", "Optimiser steps on each chunk.", 1, 16, 2);
        Option<bool> json = Common.Json();
        var command = new Command("temp-lora-cost", "What a temporary adapter costs in floating point operations for each token, from the model's shape alone.")
        {
            model, config, windows, chunks, prefix, rank, epochs, json,
        };
        command.SetAction((result, _) =>
        {
            DecoderConfig shape = ConfigOf(result.GetValue(config), result.GetValue(model)!);
            int[] w = result.GetValue(windows) ?? [shape.TrainedLength, 2 * shape.TrainedLength, 4 * shape.TrainedLength];
            int[] d = result.GetValue(chunks) ?? [Math.Max(1, w.Min() / 4), Math.Max(1, w.Min() / 2)];
            TempLoraCostReport report = Measure(shape, result.GetValue(rank), w, d, result.GetValue(prefix) ?? d.Min(), result.GetValue(epochs));
            if (result.GetValue(json)) terminal.WriteJson(report);
            else Print(terminal, report);
            return Task.FromResult(App.Success);
        });
        return command;
    }

    static DecoderConfig ConfigOf(string? path, string model)
    {
        if (path is not null) return DecoderConfigFile.Read(path);
        using var opened = DecoderFiles.Open(model);
        return opened.Config;
    }

    static TempLoraCostReport Measure(DecoderConfig shape, int rank, int[] windows, int[] chunks, int prefix, int epochs)
    {
        TempLoraCost cost = TempLoraCost.Of(shape, rank);
        int kept = chunks.Min();
        var rows = from w in windows
            from d in chunks
            where d <= w && kept < w
            select new TempLoraCostRow(w, d, cost.Recomputing(w, d) / 1e9, cost.Reusing(w, kept) / 1e9, cost.Training(d, prefix, epochs) / 1e9,
                TempLoraCost.OfUpdate(shape, rank, d, prefix, epochs).Total / 1e9 / d, cost.TrainingWithAllGradients(d, prefix, epochs) / 1e9, cost.TrainingWithAllGradients(d, prefix, 1) / 1e9);
        return new(cost.Weights, cost.LowRank, prefix, kept, epochs, [.. rows]);
    }

    static void Print(Terminal terminal, TempLoraCostReport report)
    {
        terminal.Print($"{report.Parameters / 1e6:F1} M parameters meet each token, {report.AdapterParameters / 1e6:F2} M of adapters; prefix {report.Prefix}, {report.Epochs} epochs, the cache begins with {report.Kept} tokens. GFLOP for each token:");
        terminal.Table(["window", "chunk", "recomputing", "reusing", "training (4P)", "by the engine", "training (6P)", "training (6P, once)"],
            report.Rows.Select(r => (string[])
            [
                Text.Of(r.Window), Text.Of(r.Chunk), Text.Of(r.RecomputingGflop, "F1"), Text.Of(r.ReusingGflop, "F1"), Text.Of(r.TrainingGflop, "F1"), Text.Of(r.TrainingEngineGflop, "F1"),
                Text.Of(r.TrainingAllGradientsGflop, "F1"), Text.Of(r.TrainingOnceGflop, "F1"),
            ]));
    }
}

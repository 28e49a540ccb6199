using LongCtx.Engine.Runtime;
using LongCtx.Engine.Sampling;

namespace LongCtx.Engine.Scheduling;

/// <summary>What becomes of a step's logits: tokens, text, and the end of a reply.</summary>
internal sealed partial class ModelScheduler
{
    void Advance(Generation g, int entry)
    {
        Sequence s = g.Sequence;
        StepBatch.Entry e = _batch.Entries[entry];
        int promptTokens = e.RowCount - (s.Pending >= 0 ? 1 : 0);
        if (g.IsPrefilling)
        {
            foreach (int token in g.Request.Tokens.Span.Slice(g.Fed, promptTokens)) s.Recent.Add(token);
            g.Fed += promptTokens;
        }

        s.Pending = -1;
        s.UpdateState();
        if (e.Kind == LogitsKind.None) return;
        try
        {
            Sample(g, _batch.Logits(entry));
        }
        catch (LongCtxException failure)
        {
            Remove(g);
            Free(s);
            g.Fail(failure);
        }
    }

    void Sample(Generation g, Span<float> logits)
    {
        Sequence s = g.Sequence;
        int token = g.Sampler.Sample(logits, s.Recent, s.Cache.Count);
        TokenInfo? info = g.Request.TopLogprobs is { } top ? Describe(logits, token, top) : null;
        g.SampledCount++;
        if (g.FirstTokenAt == 0) g.FirstTokenAt = engine.Now();
        bool isStop = g.Request.StopTokens.Contains(token);
        bool stopText = false;
        string text = "";
        if (!isStop)
        {
            s.Pending = token;
            s.Recent.Add(token);
            s.UpdateState();
            g.Ids.Add(token);
            string added = g.Decoder.Append(token);
            g.TextEnds.Add((g.TextEnds.Count == 0 ? 0 : g.TextEnds[^1]) + added.Length);
            text = g.Stops.Push(added);
            stopText = g.Stops.Matched is not null;
        }

        bool isFull = g.SampledCount == g.Request.MaxTokens
            || (s.Policy.LengthMax(Model.TrainedLength) is { } max && s.Count >= max);
        bool ends = isStop || stopText || isFull;
        if (ends && !stopText) text += FlushText(g);
        g.Text.Append(text);
        g.Emit(new(token, text, info, s.Window));
        if (ends) Finish(g, isStop || stopText ? FinishReason.Stop : FinishReason.Length);
    }

    /// <summary>Log-probabilities are the model's own: before penalties, bias and temperature.</summary>
    TokenInfo Describe(ReadOnlySpan<float> logits, int token, int top)
    {
        Span<int> ids = stackalloc int[top];
        Span<float> logprobs = stackalloc float[top];
        float own = Logprobs.Compute(logits, token, ids, logprobs);
        var alternatives = new TokenAlternative[top];
        for (int i = 0; i < top; i++) alternatives[i] = new(ids[i], Model.Tokenizer.TokenBytes(ids[i]).ToArray(), logprobs[i]);
        return new(token, Model.Tokenizer.TokenBytes(token).ToArray(), own, alternatives);
    }

    static string FlushText(Generation g) => g.Stops.Push(g.Decoder.Flush()) + g.Stops.Flush();

    void Finish(Generation g, FinishReason reason)
    {
        Sequence s = g.Sequence;
        if (reason == FinishReason.Cancelled) g.Text.Append(FlushText(g));
        string text = g.Text.ToString();
        string beyond = CutToText(g, text.Length, text);
        long now = engine.Now();
        long first = g.FirstTokenAt == 0 ? now : g.FirstTokenAt;
        Remove(g);
        g.Finish(new(
            reason, text, g.Fed, g.SampledCount, (int)(s.Window.Evicted - g.EvictedBefore), s.Window,
            engine.Seconds(g.AdmittedAt, first), engine.Seconds(first, now), [.. g.Ids], beyond));
    }

    /// <summary>
    /// Takes the tokens off the sequence that lie, in whole or in part, behind the end of the reply's text: a stop text was cut there.
    /// Returns the text that the remaining tokens do not cover.
    /// </summary>
    string CutToText(Generation g, int length, string text)
    {
        int keep = g.Ids.Count;
        while (keep > 0 && g.TextEnds[keep - 1] > length) keep--;
        if (keep == g.Ids.Count) return "";
        Sequence s = g.Sequence;
        long target = s.Count - (g.Ids.Count - keep);
        if (!s.Cache.CanTruncate(Math.Min(target, s.Cache.Count)))
        {
            s.IsDropped = true; // freed when the caller lets go of it; the next turn computes it anew
        }
        else
        {
            s.Pending = -1;
            s.Cache.Truncate(Math.Min(target, s.Cache.Count));
            s.UpdateState();
        }

        g.Ids.RemoveRange(keep, g.Ids.Count - keep);
        return text[(keep == 0 ? 0 : Math.Min(text.Length, g.TextEnds[keep - 1]))..];
    }
}

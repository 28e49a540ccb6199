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
        if (g.Ending is not null && !g.IsPrefilling) EndWithoutSampling(g);
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
        long now = engine.Now();
        if (g.FirstTokenAt == 0) g.FirstTokenAt = now;
        bool isStop = g.Request.StopTokens.Contains(token);
        bool stopText = false;
        string text = "";
        if (!isStop)
        {
            s.Pending = token;
            s.Recent.Add(token);
            s.UpdateState();
            text = g.Take(token);
            stopText = g.Stops.Matched is not null;
        }

        bool isFull = g.SampledCount == g.Request.MaxTokens
            || (s.Policy.LengthMax(Model.TrainedLength) is { } max && s.Count >= max);
        bool ends = isStop || stopText || isFull;
        if (ends && !stopText) text += FlushText(g);
        g.Text.Append(text);
        g.Settle();
        g.Emit(new(token, text, info, s.Window)
        {
            At = now, SettledTokens = g.SettledTokens - g.Request.Resumed.Count, SettledChars = g.SettledChars - g.ResumedChars,
        });
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

    /// <summary>The end of a generation that samples nothing: it only feeds, or was over when it was interrupted.</summary>
    void EndWithoutSampling(Generation g)
    {
        Sequence s = g.Sequence;
        if (!g.Request.FeedOnly && g.Fed < g.Request.Tokens.Length)
        {
            s.Pending = g.Request.Tokens.Span[^1];
            s.Recent.Add(s.Pending);
            s.UpdateState();
            g.Fed++;
        }

        g.Text.Append(FlushText(g)); // nothing after a stop text
        Finish(g, g.Ending!.Value);
    }

    static string FlushText(Generation g) => g.Stops.Push(g.Decoder.Flush()) + g.Stops.Flush();

    void Finish(Generation g, FinishReason reason)
    {
        Sequence s = g.Sequence;
        if (reason == FinishReason.Cancelled) g.Text.Append(FlushText(g));
        string text = g.Text.ToString();
        string beyond = CutToText(g, text);
        int promptTokens = Math.Min(g.Fed, Math.Max(0, g.Request.Tokens.Length - g.Request.Resumed.Count));
        long now = engine.Now();
        long first = g.FirstTokenAt == 0 ? now : g.FirstTokenAt;
        Remove(g);
        g.Finish(new(
            reason, text, promptTokens, g.SampledCount, (int)(s.Window.Evicted - g.EvictedBefore), s.Window,
            engine.Seconds(g.AdmittedAt, first), engine.Seconds(first, now), [.. g.Ids], beyond) { ResumedChars = g.ResumedChars });
    }

    /// <summary>
    /// Takes the tokens off the sequence that lie, in whole or in part, behind the end of the reply's text: a stop text was cut there.
    /// Returns the text that the remaining tokens do not cover.
    /// </summary>
    static string CutToText(Generation g, string text)
    {
        int held = g.Ids.Count - Math.Min(g.Ids.Count, g.Request.Tokens.Length - g.Fed); // a cancelled one may not have fed all that it resumed
        int keep = held;
        while (keep > 0 && g.TextEnds[keep - 1] > text.Length) keep--;
        if (keep < held) Truncate(g.Sequence, held - keep);
        if (keep == g.Ids.Count) return "";
        g.Ids.RemoveRange(keep, g.Ids.Count - keep);
        return text[(keep == 0 ? 0 : Math.Min(text.Length, g.TextEnds[keep - 1]))..];
    }

    /// <summary>Takes the newest tokens off a sequence, or drops it when keys or penalties it would need are gone: the next turn computes it anew.</summary>
    static void Truncate(Sequence s, int tokens)
    {
        long target = Math.Min(s.Count - tokens, s.Cache.Count);
        if (!s.Cache.CanTruncate(target) || !s.Recent.TryTruncate(tokens))
        {
            s.IsDropped = true; // freed when the caller lets go of it
            return;
        }

        s.Pending = -1;
        s.Cache.Truncate(target);
        s.Pins.Truncate(target);
        s.UpdateState();
    }
}

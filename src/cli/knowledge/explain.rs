//! `knowledge search --explain`: how the score of each hit came about, for whoever wonders why.

use openclaw_actors::knowledge::index::{Explained, Explanation, Word};

pub(super) fn print(explanation: &Explanation) {
    let Explanation { words, title_weight, gram_weight, ceiling, meaning_weight, hits } = explanation;
    println!("words      {}", words.iter().map(shown).collect::<Vec<_>>().join(", "));
    println!(
        "weights    {gram_weight} for pieces of words, {title_weight:.2} for titles; at most {ceiling:.1} in all"
    );
    if let Some(weight) = meaning_weight {
        println!(
            "ranking    {weight:.2} × likeness in meaning + {:.2} × score of words, each as a share of the best",
            1.0 - weight
        );
    }
    if hits.is_empty() {
        println!("nothing is about that");
    }
    for (rank, hit) in hits.iter().enumerate() {
        print_hit(rank + 1, hit, (*gram_weight, *title_weight));
    }
}

/// `parcel (parcle) ×1 rare 4.2`
fn shown(Word { word, typed, is_stop, weight, rarity }: &Word) -> String {
    let typed = typed.as_ref().map(|typed| format!(" (typed {typed})")).unwrap_or_default();
    let kind = if *is_stop { " stop word" } else { "" };
    format!("{word}{typed}{kind} ×{weight:.2} rarity {rarity:.1}")
}

fn print_hit(rank: usize, hit: &Explained, (gram_weight, title_weight): (f32, f32)) {
    println!("\n{rank}. {:.0} %  {}", hit.confidence * 100.0, hit.title);
    println!("   score      {:.2}", hit.score);
    if let Some(likeness) = hit.likeness {
        println!("   meaning    {likeness:.3}");
        println!("   words      {:.2}", hit.words);
    }
    for (name, score, weight) in [
        ("A  article", hit.article, 1.0),
        ("P  passage", hit.passage, 1.0),
        ("G  pieces in the article", hit.article_grams, gram_weight),
        ("G  pieces in the passage", hit.passage_grams, gram_weight),
        ("T  title", hit.title_words, title_weight),
    ] {
        println!("   {:>8.2} = {weight:.2} × {score:>6.2}  {name}", weight * score);
    }
    println!(
        "   confidence from share {:.2}, title {:.2}, scaled score {:.1}, margin {:.2}; {:.0} % of the telling words",
        hit.share,
        hit.title_overlap,
        hit.scaled_score,
        hit.margin,
        hit.on_topic * 100.0
    );
    println!("   passage from character {}", hit.passage_start);
}
